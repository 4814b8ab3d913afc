"""The supervisor that all `open_bot` and `open_client` blocks of an event loop share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from anyio.lowlevel import RunVar

from botvisor.config import Settings

from . import tasks
from .bot_supervisor import BotSupervisor
from .stores import new_supervisor


class Shared:
    """A supervisor in a task of its own, which none of its users' cancellations reaches.

    Args:
        supervisor: one that does not run yet.
        running: those of the event loop; it takes itself out in its end.

    Attributes:
        guests: what its users share beside it, by name.
    """

    def __init__(self, supervisor: BotSupervisor, running: dict[Settings, Shared]) -> None:
        self.supervisor = supervisor
        self.guests: dict[str, Any] = {}
        self.users = 0
        self._running = running
        self.ready = anyio.Event()
        self.ended = anyio.Event()
        self.error: BaseException | None = None
        self.task = tasks.detach(self._run, "botvisor supervisor")
        tasks.on_end(self.task, self._end)  # whatever ends it, and be it before it began

    async def leave(self) -> None:
        """Use it no longer; the last one to leave waits until it has ended."""
        self.users -= 1
        if self.users == 0:
            self._withdraw()
            await self._stop()

    async def _stop(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as group:
                group.start_soon(self._shut_down, group.cancel_scope)
                await self.ended.wait()
                group.cancel_scope.cancel()

    async def _shut_down(self, waiting: anyio.CancelScope) -> None:
        await self.supervisor.shutdown()
        if self.supervisor.core.stuck:  # it may never end
            waiting.cancel()

    async def _run(self) -> None:
        async with tasks.ChildGroup() as group:
            group.start_soon(self._end_with_the_loop)
            try:
                await self.supervisor.run(self.ready.set)
            except Exception as error:  # it is raised to those who wait for it
                self.error = error
            finally:
                group.cancel_scope.cancel()

    async def _end_with_the_loop(self) -> None:
        """Shut it down when its users have left it to the event loop's end, which cancels all tasks.

        Nothing else tells it so: on trio a cancellation from outside does not reach the supervisor.
        """
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self.supervisor.shutdown("the event loop has ended")

    def _withdraw(self) -> None:
        if self._running.get(self.supervisor.settings) is self:
            del self._running[self.supervisor.settings]

    def _end(self) -> None:
        self._withdraw()
        self.guests.clear()
        self.ready.set()
        self.ended.set()


_running: RunVar[dict[Settings, Shared]] = RunVar("botvisor_shared")


async def join(settings: Settings) -> Shared:
    """Use the event loop's supervisor for these settings; the first user starts it.

    Args:
        settings: the settings.

    Returns:
        It, with its `supervisor`. Whoever has joined is to `leave`; what nobody leaves ends with the loop.

    Raises:
        SettingsError: when Redis cannot be used as the settings say.
        StartFailed: when its backend did not start.
    """
    running = _running.get(None)
    if running is None:
        running = {}
        _running.set(running)
    shared = running.get(settings)
    if shared is None or shared.ended.is_set() or shared.supervisor.ended.is_set():
        shared = running[settings] = Shared(new_supervisor(settings), running)
    shared.users += 1
    try:
        await shared.ready.wait()
        if shared.error is not None:
            raise shared.error
    except BaseException:
        await shared.leave()
        raise
    return shared


@contextlib.asynccontextmanager
async def shared_supervisor(settings: Settings) -> AsyncIterator[BotSupervisor]:
    """Use the event loop's supervisor for these settings: the first user starts it, the last one stops it.

    Args:
        settings: the settings.

    Yields:
        The supervisor.

    Raises:
        SettingsError: when Redis cannot be used as the settings say.
        StartFailed: when its backend did not start.
    """
    shared = await join(settings)
    try:
        yield shared.supervisor
    finally:
        await shared.leave()
