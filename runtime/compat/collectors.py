"""The bots whose messages one client collects; what was returned is remembered for the whole process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio

from botvisor.actors.leases import RENEW_EVERY_S
from botvisor.bot_supervisor import BotSupervisor
from botvisor.config import Settings
from botvisor.errors import QueueTaken
from botvisor.process import new_instance
from botvisor.restart import Policy
from botvisor.task_child import TaskChild

from .asking import TIMEOUT_S
from .collector import Collector


class _Place(NamedTuple):
    pid: int  # a fork collects for itself
    settings: Settings
    key: str


# An event loop that ends without a `close` leaves its collectors here, for the next call in whichever loop.
_all: dict[_Place, Collector] = {}
_lock = threading.Lock()


class Collectors:
    """The collectors of one client.

    Args:
        supervisor: the event loop's.
    """

    def __init__(self, supervisor: BotSupervisor) -> None:
        self._supervisor = supervisor
        self._mine: dict[str, Collector] = {}
        self._renewer = ""  # the name of the child that renews the leases

    async def collect(self, key: str) -> list[dict[str, Any]]:
        """Return what waits for a bot; see `RedisClient.get_admin_messages`."""
        collector = self._mine.get(key)
        if collector is None:
            collector = self._mine[key] = self._take(key)
        if not self._renewer:
            self._renewer = f"collectors {new_instance()}"
            await self._supervisor.core.start(TaskChild(self._renewer, self._renew), Policy())
        return await collector.collect()

    async def close(self) -> None:
        """Acknowledge what was returned, and let others take the messages."""
        await self._supervisor.core.stop(self._renewer, "the client was closed")
        while self._mine:
            key, collector = self._mine.popitem()
            try:
                await collector.close()
            finally:
                with _lock:
                    _all.pop(self._place(key), None)

    def _place(self, key: str) -> _Place:
        return _Place(os.getpid(), self._supervisor.settings, key)

    def _take(self, key: str) -> Collector:
        with _lock:
            collector = _all.get(self._place(key))
            if collector is None:
                collector = _all[self._place(key)] = Collector(key, self._supervisor)
            elif not collector.abandoned:
                raise QueueTaken(f"bot {key}", "another event loop of this process")
            else:
                collector.move(self._supervisor)
            return collector

    async def _renew(self, started: Callable[[], None]) -> None:
        started()
        while True:
            await anyio.sleep(RENEW_EVERY_S)
            leases = [command for collector in self._mine.values() for command in collector.leases()]
            if leases:
                await self._supervisor.backend.ask_all(leases, timeout=TIMEOUT_S)
