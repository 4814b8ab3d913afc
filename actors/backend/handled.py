"""What was handled and Redis does not know yet: kept until it is told, by us or by a successor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botvisor.errors import StoreUnavailable
from botvisor.process import Owner
from botvisor.store import AcquireLease, Command, NextMessage, Queue, ReleaseLease

from .acks import Ack, Acks
from .replay import Execute, LateDone, Replay, acknowledge
from .spool_access import SpoolAccess

Lease = tuple[Queue, str]  # a queue, and the instance that asked for its lease

_FOLLOWED = {AcquireLease, NextMessage, ReleaseLease}


class Handled:
    """Follows the leases and the acknowledgements that pass by.

    Args:
        replay: keeps what Redis is to be told.
        acks: the logs on this host; None without files.
        access: how they are reached.
    """

    def __init__(self, replay: Replay, acks: Acks | None, access: SpoolAccess) -> None:
        self._replay = replay
        self._acks = acks
        self._access = access
        self._owners: dict[Lease, Owner] = {}
        self._leased: set[Lease] = set()  # since Redis was last away, and with what was left for them told

    def lose(self) -> None:
        """Redis is away from now on: somebody else may serve our queues meanwhile."""
        self._leased.clear()

    def is_wanted(self, queue: Queue, owner: Owner) -> bool:
        """Return whether an owner still serves a queue, or wants to."""
        return (queue, owner.instance) in self._owners

    async def settle(self, commands: Sequence[Command], answers: list[Any], ask: Execute | None) -> None:
        """Keep the acknowledgements that Redis did not get; tell it those that others left for our leases.

        Args:
            commands: a batch.
            answers: its answers. A lease becomes an error when Redis could not be told of what was left for
                it: what is claimed then might have been handled.
            ask: asks Redis; None while it is away.
        """
        if _FOLLOWED.isdisjoint(map(type, commands)):
            return
        late: dict[str, list[Ack]] = {}
        told: list[LateDone] = []
        gained: dict[Queue, tuple[int, Owner]] = {}
        for place, (command, answer) in enumerate(zip(commands, answers, strict=True)):
            match command:
                case NextMessage() if command.done is not None and command.queue.store != "file":
                    self._note_done(command, answer, late, told)
                case AcquireLease(queue, owner) if queue.store != "file":
                    lease = (queue, owner.instance)
                    self._owners[lease] = owner
                    if answer is not None:
                        self._leased.discard(lease)
                    elif ask is not None and lease not in self._leased:
                        gained[queue] = (place, owner)
                case ReleaseLease(queue, instance):
                    self._owners.pop((queue, instance), None)
                    self._leased.discard((queue, instance))
        acks = self._acks
        if acks is not None:
            for bot_id, entries in late.items():
                await self._access.run(functools.partial(acks.add, bot_id, entries))
        if told:
            await self.forget(told)
        if gained and ask is not None:
            await self._tell_what_was_left(gained, answers, ask)

    async def forget(self, told: Iterable[LateDone]) -> None:
        """Take out of the logs of our bots what Redis knows by now."""
        known: dict[str, set[tuple[str, str, str]]] = {}
        for queue, owner, done in told:
            known.setdefault(owner.bot_id, set()).add((queue.kind, queue.key, done.token))
        if self._acks is not None:
            for bot_id, entries in known.items():
                await self._access.run(functools.partial(self._acks.forget, bot_id, entries))

    def _note_done(
        self, command: NextMessage, answer: Any, late: dict[str, list[Ack]], told: list[LateDone]
    ) -> None:
        owner = self._owners.get((command.queue, command.instance))
        if owner is None or command.done is None:
            return
        entry = LateDone(command.queue, owner, command.done)
        if isinstance(answer, StoreUnavailable):
            if self._replay.keep_done(entry):
                late.setdefault(owner.bot_id, []).append(Ack.of(command.queue, command.done))
        elif not isinstance(answer, Exception) and self._replay.drop_done(entry):
            told.append(entry)

    async def _tell_what_was_left(
        self, gained: dict[Queue, tuple[int, Owner]], answers: list[Any], ask: Execute
    ) -> None:
        read: Callable[[], list[tuple[Queue, Ack]]] | None = None
        if self._acks is not None:
            read = functools.partial(self._acks.of, list(gained))
        left = (await self._access.run(read) or []) if read is not None else []
        late = [LateDone(queue, gained[queue][1], ack.done) for queue, ack in left]
        replies = await ask([acknowledge(each) for each in late]) if late else []
        failed: dict[Queue, StoreUnavailable] = {}
        told: list[LateDone] = []
        for each, reply in zip(late, replies, strict=True):
            if isinstance(reply, StoreUnavailable):
                failed[each.queue] = reply
            elif not isinstance(reply, Exception):
                told.append(each)
        for queue, (place, owner) in gained.items():
            if queue in failed:
                answers[place] = failed[queue]
            else:
                self._leased.add((queue, owner.instance))
        await self.forget(told)
