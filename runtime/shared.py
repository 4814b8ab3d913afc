"""The supervisor that all `open_bot` and `open_client` blocks of an event loop share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio
from anyio.lowlevel import RunVar

from botvisor.config import Settings

from . import tasks
from .bot_supervisor import BotSupervisor
from .errors import collapse
from .stores import new_supervisor


class _Shared:
    def __init__(self, supervisor: BotSupervisor) -> None:
        self.supervisor = supervisor
        self.users = 0
        self.ready = anyio.Event()
        self.error: BaseException | None = None
        self.task = tasks.detach(self._run, "botvisor supervisor")

    async def _run(self) -> None:
        try:
            async with anyio.create_task_group() as group:
                await group.start(self.supervisor.run)
                self.ready.set()
        except Exception as error:  # it is raised to those who wait for it
            self.error = collapse(error)
        finally:
            self.ready.set()


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
    if shared is None:
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
            with anyio.CancelScope(shield=True):
                await shared.ready.wait()
                await shared.supervisor.shutdown()
