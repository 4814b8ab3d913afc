"""The actors of a bot: its own, and those that its author starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from .actor import Actor
from .cell import Cell
from .child import Record, State
from .errors import ActorNameTaken, BotStopping, SupervisorStopped, describe
from .logs import Log
from .ref import Ref
from .restart import Policy
from .supervisor import Supervisor

RESERVED = ("identity", "heartbeat", "inbox", "main", "hooks", "backend")
"""What a bot has anyway: the names that its author cannot give."""
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class BotActors:
    """Starts the actors of one bot in order, and stops them in the opposite one.

    Args:
        bot_id: the bot.
        core: supervises them.
        policy: how an actor is restarted that has no policy of its own.
        shared: the addresses of the actors that the bot shares with others.
        log: where it is said that one is not restarted.

    Attributes:
        refs: the addresses by name: `shared`, the bot's own, those of its author.
        stopping: returns whether the bot is to stop.
        on_exhausted: called with the error and the reason when an actor ends that the bot cannot be without.
        on_change: called when the bot has more or fewer actors.
    """

    stopping: Callable[[], bool]
    on_exhausted: Callable[[BaseException, str], None]
    on_change: Callable[[], None]

    def __init__(
        self, bot_id: str, core: Supervisor, policy: Policy, shared: dict[str, Ref[Any, Any]], log: Log
    ) -> None:
        self.refs = shared
        self._prefix = f"{bot_id}/"
        self._core = core
        self._policy = msgspec.structs.replace(policy, restart="permanent")  # `restart` is meant for `main`
        self._log = log
        self._cells: dict[str, Cell] = {}

    def __iter__(self) -> Iterator[str]:
        """Return their names, in the order of their start."""
        return iter(self._cells)

    @property
    def custom(self) -> list[str]:
        """The names of those that the bot's author has started."""
        return [name for name in self._cells if name not in RESERVED]

    def add(self, name: str, factory: Callable[[], Actor]) -> Ref[Any, Any]:
        """Add one of the bot's own actors, which `start_added` starts.

        Args:
            name: its name.
            factory: makes a fresh one for each incarnation.

        Returns:
            Its address.
        """
        return self._add(name, factory, self._policy, 1024).ref

    async def start_added(self) -> None:
        """Start those that were added, one after the other.

        Raises:
            StartFailed: when one did not start.
            SupervisorStopped: when the bot is to stop meanwhile.
        """
        for cell in list(self._cells.values()):
            if self.stopping():
                raise SupervisorStopped
            await self._core.start(cell, self._policy, self._ended)

    async def start(
        self, name: str, factory: Callable[[], Actor], policy: Policy | None, capacity: int
    ) -> Ref[Any, Any]:
        """Start an actor of the author's; see `Bot.start_actor`."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"an actor's name is 1 to 64 of the characters A-Z a-z 0-9 _ . -, not {name!r}")
        if name in RESERVED:
            raise ActorNameTaken(self._prefix + name, "every bot has one of its own")
        if self._core.state(self._prefix + name) is not State.ENDED:
            raise ActorNameTaken(self._prefix + name, "it runs already")
        if self.stopping():
            raise BotStopping(self._prefix.removesuffix("/"))
        policy = policy or self._policy
        # It is among the cells before it starts, so that a bot that stops meanwhile waits for it too.
        cell = self._add(name, factory, policy, capacity)
        try:
            await self._core.start(cell, policy, self._ended)
        except SupervisorStopped:
            self._forget(name)
            cell.dispose()
            raise
        self.on_change()
        return cell.ref

    async def stop_custom(self, name: str, reason: str) -> None:
        """Stop an actor of the author's; see `Bot.stop_actor`."""
        if name in RESERVED:
            raise ValueError(f"a bot needs its {name}: what start_actor started can be stopped")
        await self._core.stop(self._prefix + name, reason)

    async def stop(self, reason: str) -> None:
        """Stop all of them in order, the last started first, and wait until they have ended.

        Args:
            reason: why.
        """
        for name in reversed(list(self._cells)):
            await self._core.stop(self._prefix + name, reason)

    def dispose(self) -> None:
        """End those for good that were added and never started."""
        for cell in self._cells.values():
            cell.dispose()

    def _add(self, name: str, factory: Callable[[], Actor], policy: Policy, capacity: int) -> Cell:
        cell = Cell(
            self._prefix + name,
            factory,
            self._core.timers,
            capacity=capacity,
            start_timeout=policy.start_timeout,
        )
        self._cells[name], self.refs[name] = cell, cell.ref
        return cell

    def _ended(self, record: Record) -> None:
        name = record.name.removeprefix(self._prefix)
        if name not in RESERVED:  # there may be one for each participant: they must not add up
            self._forget(name)
            if record.ever_ran and not self.stopping():
                self.on_change()
        if record.error is None:
            return
        if record.exhausted:
            self.on_exhausted(record.error, f"{record.name} used up its restarts")
        elif record.ever_ran and not record.stop_reason:
            then = "it is not restarted, as its policy says"
            self._log.error("supervisor", f"{record.name} failed: {describe(record.error)} - {then}")

    def _forget(self, name: str) -> None:
        self._cells.pop(name, None)
        self.refs.pop(name, None)
