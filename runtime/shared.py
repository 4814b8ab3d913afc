"""The supervisor that all `open_bot` and `open_client` blocks of an event loop share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from anyio.lowlevel import RunVar

from botvisor.config import Settings

from . import tasks
from .bot_supervisor import BotSupervisor
from .stores import new_supervisor


class _Shared:
    """A supervisor in a task of its own, which none of its users' cancellations reaches."""

    def __init__(self, supervisor: BotSupervisor) -> None:
        self.supervisor = supervisor
        self.users = 0
        self.ready = anyio.Event()
        self.ended = anyio.Event()
        self.error: BaseException | None = None
        self.task = tasks.detach(self._run, "botvisor supervisor")
        tasks.on_end(self.task, self._end)  # it may be cancelled before it began

    async def stop(self) -> None:
        """Stop it, and wait until it has ended."""
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
        try:
            await self.supervisor.run(self.ready.set)
        except Exception as error:  # it is raised to those who wait for it
            self.error = error
        finally:
            self._end()

    def _end(self) -> None:
        self.ready.set()
        self.ended.set()


_running: RunVar[dict[Settings, _Shared]] = RunVar("botvisor_shared")


@contextlib.asynccontextmanager
async def shared_supervisor(settings: Settings) -> AsyncIterator[BotSupervisor]:
    """Use the event loop's supervisor for these settings: the first user starts it, the last one stops it.

    Args:
        settings: the settings.

    Yields:
        The supervisor.

    Raises:
        StartFailed: when its backend did not start.
    """
    try:
        running = _running.get()
    except LookupError:
        running = {}
        _running.set(running)
    shared = running.get(settings)
    if shared is None or shared.ended.is_set():
        shared = running[settings] = _Shared(new_supervisor(settings))
    shared.users += 1
    try:
        await shared.ready.wait()
        if shared.error is not None:
            raise shared.error
        yield shared.supervisor
    finally:
        shared.users -= 1
        if shared.users == 0:
            if running.get(settings) is shared:
                del running[settings]
            await shared.stop()
