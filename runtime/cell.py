"""The cell: what the supervisor keeps of an actor while its incarnations come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel

from .actor import Actor, BatchActor, Context
from .envelope import Envelope, Fate
from .errors import ActorCrashed, Reject, StartTimeout, collapse
from .group import Group, GroupRef
from .mailbox import Mailbox
from .ref import Ref
from .restart import RestartType
from .tasks import ChildGroup
from .timers import Timers

_BURST = 64  # messages between two checkpoints: without a cap a busy actor starves the others
_MAX_DELIVERIES = 2  # an actor that is cancelled twice under one message is not handed it again


class Fault:
    """A message that makes any actor crash: for tests and drills.

    Args:
        error: what the actor raises.
    """

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class Cell:
    """Owns an actor's mailbox and address, and runs its incarnations one after the other.

    Args:
        name: the actor's name, unique under its supervisor.
        factory: makes a fresh actor for every incarnation.
        timers: the supervisor's.
        capacity: how many messages may wait.
        start_timeout: the limit of `Actor.start`, in seconds.
        gathers: asks that wait for the actor travel together; it must take batches.
    """

    kind: RestartType = "permanent"
    parks = True

    def __init__(
        self,
        name: str,
        factory: Callable[[], Actor],
        timers: Timers,
        *,
        capacity: int = 1024,
        start_timeout: float = 10.0,
        gathers: bool = False,
    ) -> None:
        self.name = name
        self.mailbox = Mailbox(name, capacity)
        self.ref: Ref[Any, Any] = (GroupRef if gathers else Ref)(name, self.mailbox, timers)
        self.handling: str = ""
        self._factory = factory
        self._timers = timers
        self._start_timeout = start_timeout
        self._generation = 0
        self._living = 0  # the generation that runs now
        self._in_hand: list[list[Envelope]] = []  # by the order they were taken
        self._stop_reason: str | None = None

    async def run(self, started: Callable[[], None]) -> None:
        """Run one incarnation, until it is asked to stop or fails.

        Args:
            started: called once the actor has started.
        """
        self._generation += 1
        generation = self._living = self._generation
        ctx = Context(self.ref, generation, self._timers, lambda message: self._post(message, generation))
        try:
            actor = self._factory()
            with anyio.move_on_after(self._start_timeout) as limit:
                await actor.start(ctx)
            if limit.cancelled_caught:
                raise StartTimeout(self.name, self._start_timeout)
            if self._stop_reason is None:
                self.mailbox.reopen()
            started()
            await self._serve(actor)
            await actor.stop(self._stop_reason or "")
        finally:
            self._living = 0
            ctx.over = True

    def request_stop(self, reason: str) -> None:
        """Take no more messages; the incarnation handles what waits, stops its actor and returns."""
        self._stop_reason = reason
        self.mailbox.close()
        self.mailbox.wake()

    def nudge(self) -> bool:
        """Return False: an actor that does not stop in time has no gentler way than its scope's cancel."""
        return False

    def rest(self) -> list[Envelope]:
        """Take no messages until the next start; asks end with `ActorStopped`. Returns the dead letters."""
        self.mailbox.close()
        return self.mailbox.empty()

    def dispose(self) -> list[Envelope]:
        """End for good, even if an incarnation is stuck. Returns the dead letters."""
        self._living = 0
        letters = [envelope for batch in self._in_hand for envelope in batch if envelope.fate is None]
        for envelope in letters:
            self.mailbox.bury(envelope)
        letters += self.rest()
        self.mailbox.dispose()
        return letters

    def _post(self, message: Any, generation: int) -> None:
        if generation == self._living and self._stop_reason is None:
            # A callback of a loop that anyio did not start may post: anyio knows no time there.
            self.mailbox.put(Envelope(message, None, self._timers.now(), generation), own=True)

    async def _serve(self, actor: Actor) -> None:
        beside = actor.in_flight - 1 if isinstance(actor, BatchActor) else 0
        if not beside:
            await self._serve_in_turn(actor)
            return
        try:
            async with ChildGroup() as group:
                for _ in range(beside):
                    group.start_soon(self._serve_in_turn, actor)
                await self._serve_in_turn(actor)
        except BaseExceptionGroup as errors:
            raise collapse(errors) from None

    async def _serve_in_turn(self, actor: Actor) -> None:
        limits = (actor.batch_least, actor.batch_limit) if isinstance(actor, BatchActor) else (1, 1)
        while True:
            for _ in range(_BURST):
                batch = self._gather(*limits)
                if not batch:
                    break
                await self._deliver(actor, batch)
            else:
                await anyio.lowlevel.checkpoint()
                continue
            if self._stop_reason is not None:
                self.mailbox.wake()  # one that waits beside us
                return
            await self.mailbox.wait()

    def _gather(self, least: int, limit: int) -> list[Envelope]:
        batch: list[Envelope] = []
        count, half, take = 0, len(self.mailbox) // 2, self.mailbox.take
        while count < limit and (count < least or len(batch) < half) and (envelope := take()) is not None:
            if self._wanted(envelope):
                batch.append(envelope)
                count += len(envelope.message) if isinstance(envelope.message, Group) else 1
            else:
                self.mailbox.settle(envelope, Fate.DEAD_LETTERED)
        if len(self.mailbox):
            self.mailbox.wake()  # there is something left for one that waits beside us
        return batch

    def _wanted(self, envelope: Envelope) -> bool:
        if envelope.reply is not None:
            # An asker who was told that it failed, or left, would be surprised; and it costs the others.
            return not envelope.reply.ended
        # What an actor sends itself, such as the next tick, would come twice after a restart.
        return envelope.generation in (0, self._generation)

    async def _deliver(self, actor: Actor, batch: list[Envelope]) -> None:
        self._in_hand.append(batch)
        self.mailbox.in_hand += 1
        self.handling = _name_of(batch)
        try:
            answers = await self._handle(actor, batch)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self.handling = _name_of(batch)
            for envelope in batch:
                self._end(envelope, Fate.CRASHED, ActorCrashed(self.name, error))
            raise
        except BaseException as error:
            self._interrupt(batch, error)
            raise
        finally:
            self._in_hand.remove(batch)
            self.mailbox.in_hand -= 1
        for envelope, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                fate = Fate.REJECTED
            else:
                fate = Fate.HANDLED if envelope.deliveries == 1 else Fate.REDELIVERED
            self._end(envelope, fate, answer)
        self.handling = _name_of(self._in_hand[0]) if self._in_hand else ""

    async def _handle(self, actor: Actor, batch: list[Envelope]) -> list[Any]:
        for envelope in batch:
            if isinstance(envelope.message, Fault):
                raise envelope.message.error
        try:
            if not isinstance(actor, BatchActor):
                return [await actor.handle(batch[0].message)]
            messages = _unpacked(batch)
            answers = await actor.handle_batch(messages) if messages else []
        except Reject as no:
            return [no] * len(batch)
        if len(answers) != len(messages):
            raise ValueError(f"{len(answers)} answers to a batch of {len(messages)}")
        return _packed(batch, answers)

    def _interrupt(self, batch: list[Envelope], error: BaseException) -> None:
        # A cancellation is not the message's fault: the next incarnation gets it, at the head.
        for envelope in reversed(batch):
            if envelope.deliveries >= _MAX_DELIVERIES:
                self._end(envelope, Fate.CRASHED, ActorCrashed(self.name, error))
            elif envelope.fate is None:
                self.mailbox.put_back(envelope)

    def _end(self, envelope: Envelope, fate: Fate, answer: Any) -> None:
        if envelope.fate is not None:
            return  # it became a dead letter while this actor was stuck with it
        self.mailbox.settle(envelope, fate)
        if envelope.reply is None:
            return
        if isinstance(answer, Exception):
            envelope.reply.fail(answer)
        else:
            envelope.reply.succeed(answer)


def _name_of(batch: list[Envelope]) -> str:
    message = batch[0].message
    if isinstance(message, Group) and message.messages:
        message = message.messages[0]
    return type(message).__name__


def _unpacked(batch: list[Envelope]) -> list[Any]:
    """Return the messages of a batch, those of its groups one by one."""
    messages: list[Any] = []
    for envelope in batch:
        if isinstance(envelope.message, Group):
            envelope.message.close()
            messages += envelope.message.messages
        else:
            messages.append(envelope.message)
    return messages


def _packed(batch: list[Envelope], answers: list[Any]) -> list[Any]:
    """Return an answer for each envelope of a batch, a list for each group."""
    packed: list[Any] = []
    start = 0
    for envelope in batch:
        if isinstance(envelope.message, Group):
            end = start + len(envelope.message)
            packed.append(answers[start:end])
            start = end
        else:
            packed.append(answers[start])
            start += 1
    return packed
