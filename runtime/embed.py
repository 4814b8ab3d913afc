"""Bots inside an event loop that already runs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

from botvisor.config import Settings, load_settings

from .bot import Bot, running_bot
from .bot_supervisor import BotSupervisor
from .errors import collapse
from .handle import Outcome
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
        outcome.error = self.error
        outcome.cancelled = self.scope.cancel_called


@contextlib.asynccontextmanager
async def open_bot(
    *,
    room_url: str = "",
    bot_id: str | None = None,
    settings: Settings | None = None,
    policy: Policy | None = None,
    grace: float = 15.0,
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

    Yields:
        The bot.

    Raises:
        SettingsError: when the environment holds bad values.
        BotIdTaken: when a live bot elsewhere has the id that was given.
        StartFailed: when an actor did not start.
    """
    async with shared_supervisor(settings or load_settings()) as supervisor:
        block = Block()
        handle = await supervisor.start_block(
            block, room_url=room_url, bot_id=bot_id, policy=policy, grace=grace
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


@contextlib.asynccontextmanager
async def open_supervisor(settings: Settings | None = None) -> AsyncIterator[BotSupervisor]:
    """Run many bots in one process, over one backend: ``await supervisor.start_bot(main, room_url=…)``.

    When the block is left, every bot is stopped within its grace.

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
    try:
        async with anyio.create_task_group() as group:
            await group.start(supervisor.run)
            try:
                yield
            finally:
                with anyio.CancelScope(shield=True):
                    await supervisor.shutdown()
    except BaseExceptionGroup as raised:
        raise collapse(raised) from None
