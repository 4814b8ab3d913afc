"""Bots inside an event loop that already runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

from botvisor.config import Settings, load_settings

from .bot import Bot, running_bot
from .bot_supervisor import BotSupervisor
from .handle import Outcome
from .hooks import Hooks
from .restart import Policy
from .shared import shared_supervisor
from .stores import new_supervisor


class Block:
    """The block of an `open_bot`, as the significant part of its bot."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.left = anyio.Event()
        self.error: BaseException | None = None

    async def end(self, reason: str, grace_s: float) -> None:
        """Wait for the block to be left, and cancel it after its grace."""
        with anyio.move_on_after(grace_s):
            await self.left.wait()
        if not self.left.is_set():
            self.scope.cancel()
            await self.left.wait()

    def fill_in(self, outcome: Outcome) -> None:
        """Tell how the block was left."""
        outcome.cancelled = self.scope.cancel_called or _is_cancellation(self.error)
        if not outcome.cancelled:
            outcome.error = self.error


@contextlib.asynccontextmanager
async def open_bot(
    *,
    room_url: str = "",
    bot_id: str | None = None,
    settings: Settings | None = None,
    policy: Policy | None = None,
    grace: float = 15.0,
    hooks: Hooks | None = None,
) -> AsyncIterator[Bot]:
    """Run a bot for the length of a block, inside an event loop that already runs.

    It touches no signals. All such bots of an event loop share one supervisor and one backend. When the bot
    is stopped its inbox ends; if the block has not been left after the grace, its scope is cancelled.

    Args:
        room_url: the room that the bot serves.
        bot_id: its id; None takes `BOT_ID`, or makes one from the pid.
        settings: None reads the environment.
        policy: how its actors are restarted.
        grace: how long the block has to be left when the bot is stopped, in seconds.
        hooks: what is called when something happens to the bot.

    Yields:
        The bot.

    Raises:
        SettingsError: when the environment holds bad values.
        BotIdTaken: when a live bot elsewhere has the id that was given.
        StartFailed: when an actor did not start.
        Exception: when the block is left, what an actor failed with that ended the bot
            (``Policy(on_exhausted="stop")``).
    """
    async with shared_supervisor(settings or load_settings()) as supervisor:
        block = Block()
        handle = await supervisor.start_block(
            block, room_url=room_url, bot_id=bot_id, policy=policy or Policy(), grace=grace, hooks=hooks
        )
        token = running_bot.set(handle.bot)
        try:
            with block.scope:
                yield handle.bot
        except BaseException as error:
            block.error = error
            raise
        finally:
            handle.bot.inbox.reader_ended(handled=block.error is None and not block.scope.cancelled_caught)
            with contextlib.suppress(ValueError):  # a fixture may leave the block in another context
                running_bot.reset(token)
            block.left.set()
            handle.main_ended()
            with anyio.CancelScope(shield=True):
                await handle.finished.wait()
        if handle.outcome.error is not None:
            raise handle.outcome.error


@contextlib.asynccontextmanager
async def open_supervisor(settings: Settings | None = None) -> AsyncIterator[BotSupervisor]:
    """Run many bots in one process, over one backend: ``await supervisor.start_bot(main, room_url=…)``.

    When the block is left, every bot is stopped within its grace. From 128 bots on what is alive is hidden
    from the garbage collector, with `gc.freeze`, as a full collection would stop all of them for long.

    Args:
        settings: None reads the environment.

    Yields:
        The supervisor.

    Raises:
        SettingsError: when the environment holds bad values.
        StartFailed: when the backend did not start.
    """
    supervisor = new_supervisor(settings or load_settings())
    async with supervised(supervisor):
        yield supervisor


@contextlib.asynccontextmanager
async def supervised(supervisor: BotSupervisor) -> AsyncIterator[None]:
    """Run a supervisor for the length of a block, in the block's own task group.

    Args:
        supervisor: one that does not run yet.
    """
    error: BaseException | None = None
    try:
        async with anyio.create_task_group() as group:
            started = anyio.Event()
            group.start_soon(supervisor.run, started.set)
            try:
                await started.wait()
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await supervisor.shutdown()
    except BaseExceptionGroup as raised:
        # Only our own group goes: one that the block itself raised stays whole.
        error = raised.exceptions[0] if len(raised.exceptions) == 1 else raised
    if error is not None:
        raise error


def _is_cancellation(error: BaseException | None) -> bool:
    return isinstance(error, anyio.get_cancelled_exc_class())
