"""The portal: a thread with an event loop and a link of its own, for those who have none."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from botvisor.config import Settings, load_settings
from botvisor.embed import open_supervisor
from botvisor.errors import StoreUnavailable

from .client import RedisClient

DEADLINE_S = 2.5  # the store's own 2 s, and a margin
EXIT_S = 1.0


class Portal:
    """Serves any thread: each call blocks its caller until its outcome is known, for at most its deadline.

    It starts by asking Redis whether it answers.

    Args:
        settings: the settings.

    Attributes:
        on_redis: whether Redis is in use; False as long as nobody knows.
    """

    def __init__(self, settings: Settings) -> None:
        self.on_redis = False
        self._settings = settings
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._context: contextvars.Context
        self._stop: asyncio.Event
        self._client: RedisClient
        # Its worker threads inherit that it is a daemon: none of them keeps the program.
        self._thread = threading.Thread(target=self._run, name="botvisor portal", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it serves, or is about to."""
        return self._thread.is_alive() and self._error is None

    def wait(self, within_s: float = DEADLINE_S) -> None:
        """Wait until it serves.

        Raises:
            StoreUnavailable: when it does not in time.
            BotvisorError: why it does not.
        """
        if not self._ready.wait(within_s):
            raise StoreUnavailable(f"the stores were not reached within {within_s:g} s")
        if self._error is not None:
            raise self._error

    def call(self, do: Callable[[RedisClient], Awaitable[Any]], within_s: float = DEADLINE_S) -> Any:
        """Do something with the client, and wait for the outcome.

        Args:
            do: what to do; it runs in the portal's thread.
            within_s: the deadline, in seconds from now.

        Returns:
            What it returned.

        Raises:
            StoreUnavailable: when the deadline has passed. It may have been done or not.
            Exception: what it raised.
        """
        ends_at = time.monotonic() + within_s
        self.wait(within_s)
        # A task takes its context along, and that of a caller on trio says that this is trio.
        future = self._context.copy().run(asyncio.run_coroutine_threadsafe, self._do(do), self._loop)
        try:
            return future.result(max(0.0, ends_at - time.monotonic()))
        except BaseException as error:
            if isinstance(error, TimeoutError) and not future.done():
                raise StoreUnavailable(
                    f"no answer within {within_s:g} s: it may have been done or not"
                ) from None
            raise
        finally:
            future.cancel()

    def close(self, within_s: float) -> None:
        """End it, in order if that is possible within so many seconds."""
        if self._ready.is_set() and self.alive:
            with contextlib.suppress(RuntimeError):  # it ends by itself just now
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(within_s)

    async def _do(self, do: Callable[[RedisClient], Awaitable[Any]]) -> Any:
        return await do(self._client)

    def _run(self) -> None:
        try:
            anyio.run(self._serve)
        except BaseException as error:
            self._error = error
        finally:
            self.on_redis = False
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._context = contextvars.copy_context()
        async with open_supervisor(self._settings) as supervisor:
            self._client = RedisClient(supervisor)

            def look() -> None:
                self.on_redis = supervisor.storage.state()["mode"] == "redis"

            supervisor.storage.on_mode.append(look)
            self.on_redis = await self._client.ping()
            self._ready.set()
            await self._stop.wait()


_portals: dict[Settings, Portal] = {}
_of_the_parent: list[Portal] = []
_lock = threading.Lock()


def portal_of(settings: Settings) -> Portal:
    """Return this process's portal for these settings; it is started if need be."""
    with _lock:
        portal = _portals.get(settings)
        if portal is None or not portal.alive:
            portal = _portals[settings] = Portal(settings)
        return portal


def call(
    settings: Settings, do: Callable[[RedisClient], Awaitable[Any]], within_s: float = DEADLINE_S
) -> Any:
    """Do something through the portal; see `Portal.call`."""
    return portal_of(settings).call(do, within_s)


def settings_in_use() -> Settings | None:
    """Return the settings that the environment holds now; None while there is no Redis.

    Redis is there when it is to be used, and answers as far as is known. The first to ask waits until it
    answers, for at most `DEADLINE_S`; the others are told at once.

    Raises:
        SettingsError: when the environment holds bad values.
        BotvisorError: when Redis cannot be used as they say.
    """
    settings = load_settings()
    if not settings.use_redis:
        return None
    portal = portal_of(settings)
    with contextlib.suppress(StoreUnavailable):
        portal.wait()
    return settings if portal.on_redis else None


def close_all() -> None:
    """End all portals, within a second; the next call starts another."""
    with _lock:
        portals = list(_portals.values())
        _portals.clear()
    ends_at = time.monotonic() + EXIT_S
    for portal in portals:
        portal.close(max(0.0, ends_at - time.monotonic()))


def _leave_to_the_parent() -> None:
    """Start afresh after a fork: the thread did not come along, and its sockets are the parent's."""
    global _lock
    _lock = threading.Lock()
    # Kept: an event loop that were deleted here would take its sockets out of what the parent waits on.
    _of_the_parent.extend(_portals.values())
    _portals.clear()


os.register_at_fork(after_in_child=_leave_to_the_parent)
atexit.register(close_all)
