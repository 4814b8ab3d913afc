"""One running bot, from outside: its life is conducted here, and its end is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from .bot import Bot
from .bot_actors import BotActors
from .child import Record
from .control import Control
from .errors import describe
from .hook_runner import HookRunner
from .logs import Log
from .main import MainTask
from .supervisor import Supervisor
from .vitals import Vitals

CANCEL_GRACE_S = 5.0  # between a native cancel and the scope's


class Outcome(msgspec.Struct):
    """How a bot ended.

    Args:
        value: what `main` returned.
        error: what it raised, or what else ended the bot.
        exit: the `SystemExit` it raised.
        cancelled: it had to be cancelled.
        reason: why the bot was to stop; empty when `main` ended by itself.
    """

    value: Any = None
    error: BaseException | None = None
    exit: SystemExit | None = None
    cancelled: bool = False
    reason: str = ""

    def exit_text(self) -> str:
        """Return how it ended, in a few words."""
        if self.error is not None:
            return describe(self.error)[:200]
        if self.exit is not None:
            return f"exit {self.exit.code or 0}"
        return "cancelled" if self.cancelled else "returned"


class Significant(Protocol):
    """What a bot lives for: `main`, or the block of an `open_bot`."""

    async def end(self, reason: str, grace_s: float) -> None:
        """Let it end within its grace, then cancel it; return when it has ended, or is stuck."""
        ...

    def fill_in(self, outcome: Outcome) -> None:
        """Tell how it ended."""
        ...


class SupervisedMain:
    """`main` as the significant child.

    Args:
        task: runs it.
        supervisor: supervises it.
    """

    def __init__(self, task: MainTask, supervisor: Supervisor) -> None:
        self.task = task
        self._supervisor = supervisor
        self._record: Record | None = None

    def ended(self, record: Record) -> None:
        """Note how it ended."""
        self._record = record

    async def end(self, reason: str, grace_s: float) -> None:
        """Let it end within its grace, then cancel it natively, then by its scope."""
        await self._supervisor.stop(self.task.name, reason, within_s=grace_s, cancel_grace_s=CANCEL_GRACE_S)

    def fill_in(self, outcome: Outcome) -> None:
        """Tell how it ended."""
        outcome.value = self.task.value
        outcome.exit = self.task.exit
        if self._record is not None:
            outcome.cancelled = self._record.nudged or self._record.scope.cancel_called
            if not outcome.cancelled:
                outcome.error = self._record.error


class BotHandle:
    """A bot that was started.

    Args:
        bot: the bot.
        vitals: what its heartbeats say.
        supervisor: supervises its children.
        actors: its actors.
        grace_s: how long `main` has to end when the bot is stopped.
        hooks: calls the hooks of the bot's author.
    """

    def __init__(
        self,
        bot: Bot,
        vitals: Vitals,
        supervisor: Supervisor,
        actors: BotActors,
        grace_s: float,
        hooks: HookRunner,
    ) -> None:
        self.bot: Bot = bot
        self.vitals: Vitals = vitals
        self.hooks: HookRunner = hooks
        self.outcome: Outcome = Outcome()
        self.finished: anyio.Event = anyio.Event()
        self.at_end: list[Callable[[], None]] = []  # what is called when nothing of the bot is left
        self._supervisor = supervisor
        self.actors: BotActors = actors
        self._grace_s = grace_s
        self._draining = False
        self._failure: BaseException | None = None
        self._stop = anyio.Event()
        self._hurry = anyio.Event()
        actors.stopping, actors.on_exhausted = self._stop.is_set, self.fail

    def __repr__(self) -> str:
        return f"<BotHandle {self.id} {self.bot.status}>"

    @property
    def id(self) -> str:
        """The bot's id."""
        return self.bot.id

    @property
    def stopping(self) -> bool:
        """Whether the bot is to stop, or has ended."""
        return self._stop.is_set()

    @property
    def drains(self) -> bool:
        """Whether it was told to drain: `main` may take as long as it likes, unless it is hurried later."""
        return self._draining

    async def wait(self) -> Any:
        """Wait until the bot has ended.

        Returns:
            What `main` returned; None when it was cancelled.

        Raises:
            BaseException: what `main` raised.
        """
        await self.finished.wait()
        if self.outcome.error is not None:
            raise self.outcome.error
        if self.outcome.exit is not None:
            raise self.outcome.exit
        return self.outcome.value

    async def stop(self, reason: str = "handle.stop() was called", *, grace: float | None = None) -> None:
        """Stop the bot, and wait until it has ended.

        Args:
            reason: why, for the operators.
            grace: how long `main` has to end, in seconds; None is what the bot was started with.
        """
        self.request_stop(reason, grace=grace)
        await self.finished.wait()

    def request_stop(self, reason: str, *, grace: float | None = None) -> None:
        """Stop the bot, without waiting. One that stops already, or drains, can only be made to end sooner.

        Args:
            reason: why, for the operators.
            grace: how long `main` has to end, in seconds; None is what the bot was started with.
        """
        if grace is not None:
            self._grace_s = grace
        if not self._stop.is_set():
            self.outcome.reason = reason
            self._stop.set()
        elif grace is not None or self._draining:
            self._hurry.set()

    def drain(self, reason: str) -> None:
        """Take no more messages, and end when `main` ends, however long that takes."""
        if not self._stop.is_set():
            self._draining = True
            self.request_stop(reason)

    def obey(self, control: Control, log: Log) -> None:
        """Carry out an operator's command."""
        if control.arguments.get("instance") not in (None, self.vitals.owner.instance):
            log.warning("admin", f"Ignored {control}: it was meant for an earlier bot {self.id}")
            return
        reason = f"{control.sender or 'an operator'} sent {control.command}"
        match control.command:
            case "stop":
                self.request_stop(reason)
            case "drain":
                self.drain(reason)
            case "stack":
                self.vitals.tell_stack(self._supervisor.stacks(f"{self.id}/"))
            case "restart":
                actor = control.arguments.get("actor")
                if not self._supervisor.restart(f"{self.id}/{actor}"):
                    log.warning("admin", f"Bot {self.id} has no actor {actor!r} to restart")

    def main_ended(self) -> None:
        """Stop the rest of the bot: what it lived for has ended by itself."""
        self._stop.set()

    def fail(self, error: BaseException, reason: str) -> None:
        """Stop the bot because something in it has failed for good."""
        if not self._stop.is_set():
            self._failure = error
            self.request_stop(reason)

    async def conduct(self, significant: Significant) -> None:
        """Wait until the bot is to stop, then stop it in order. Every step is bounded.

        Args:
            significant: what the bot lives for.
        """
        await self._stop.wait()
        self.bot.inbox.end()
        self.bot.stopping.set()
        self.vitals.draining = True
        self.vitals.on_change()
        self.hooks.tell("draining")
        async with anyio.create_task_group() as group:
            group.start_soon(self._end_sooner, significant, group)
            await significant.end(self.outcome.reason, math.inf if self._draining else self._grace_s)
            group.cancel_scope.cancel()
        significant.fill_in(self.outcome)
        self.outcome.error = self._failure or self.outcome.error
        await self.stop_actors(self.outcome.reason or "main ended")

    async def stop_actors(self, reason: str) -> None:
        """Stop the actors, the last started first; the heartbeat's last words say why.

        Args:
            reason: why.
        """
        entries = self._supervisor.ledger.entries(f"{self.id}/")
        self.vitals.epitaph = {
            "reason": reason,
            "exit": self.outcome.exit_text(),
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "ledger": [msgspec.to_builtins(entry) for entry in entries[-4:]],
        }
        await self.actors.stop(reason)

    async def _end_sooner(self, significant: Significant, group: TaskGroup) -> None:
        while True:
            await self._hurry.wait()
            self._hurry = anyio.Event()
            group.start_soon(significant.end, self.outcome.reason, self._grace_s)
