"""The cell: what the supervisor keeps of an actor while its incarnations come and go."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.lowlevel

from .actor import Actor, BatchActor, Context
from .envelope import Envelope, Fate
from .errors import ActorCrashed, Reject, StartTimeout
from .mailbox import Mailbox
from .ref import Ref
from .restart import RestartType
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
    ) -> None:
        self.name = name
        self.mailbox = Mailbox(name, capacity)
        self.ref = Ref(name, self.mailbox, timers)
        self.handling: str = ""
        self._factory = factory
        self._timers = timers
        self._start_timeout = start_timeout
        self._generation = 0
        self._stop_reason: str | None = None

    async def run(self, started: Callable[[], None]) -> None:
        """Run one incarnation, until it is asked to stop or fails.

        Args:
            started: called once the actor has started.
        """
        self._generation += 1
        generation = self._generation
        actor = self._factory()
        ctx = Context(self.ref, generation, self._timers, lambda: self._generation == generation)
        try:
            with anyio.fail_after(self._start_timeout):
                await actor.start(ctx)
        except TimeoutError as error:
            raise StartTimeout(self.name, self._start_timeout) from error
        if self._stop_reason is None:
            self.mailbox.reopen()
        started()
        await self._serve(actor)
        await actor.stop(self._stop_reason or "")

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
        """End for good. Returns the dead letters."""
        self._generation += 1  # timers of the last incarnation come too late
        letters = self.rest()
        self.mailbox.dispose()
        return letters

    async def _serve(self, actor: Actor) -> None:
        while True:
            for _ in range(_BURST):
                envelope = self.mailbox.take()
                if envelope is None:
                    break
                if isinstance(actor, BatchActor):
                    await self._deliver_batch(actor, envelope)
                else:
                    await self._deliver(actor, envelope)
            else:
                await anyio.lowlevel.checkpoint()
                continue
            if self._stop_reason is not None:
                return
            await self.mailbox.wait()

    async def _deliver(self, actor: Actor, envelope: Envelope) -> None:
        if self._unwanted(envelope):
            return
        self.handling = type(envelope.message).__name__
        try:
            if isinstance(envelope.message, Fault):
                raise envelope.message.error
            value = await actor.handle(envelope.message)
        except Reject as no:
            self._answer(envelope, no)
        except Exception as error:
            self._crash(envelope, error)
            raise
        except BaseException as error:
            self._interrupt([envelope], error)
            raise
        else:
            self._answer(envelope, value)
        self.handling = ""

    async def _deliver_batch(self, actor: BatchActor, first: Envelope) -> None:
        batch = self._gather(first, actor.batch_limit)
        if not batch:
            return
        self.handling = type(batch[0].message).__name__
        try:
            for envelope in batch:
                if isinstance(envelope.message, Fault):
                    raise envelope.message.error
            answers = await actor.handle_batch([envelope.message for envelope in batch])
        except Exception as error:
            for envelope in batch:
                self._crash(envelope, error)
            raise
        except BaseException as error:
            self._interrupt(batch, error)
            raise
        for envelope, answer in zip(batch, answers, strict=True):
            self._answer(envelope, answer)
        self.handling = ""

    def _gather(self, first: Envelope, limit: int) -> list[Envelope]:
        batch = [] if self._unwanted(first) else [first]
        while len(batch) < limit and (envelope := self.mailbox.take()) is not None:
            if not self._unwanted(envelope):
                batch.append(envelope)
        return batch

    def _unwanted(self, envelope: Envelope) -> bool:
        if envelope.reply is None or not envelope.reply.ended:
            return False
        # The asker was told that it failed, or left: doing it now would surprise him, and costs the others.
        self.mailbox.settle(envelope, Fate.DEAD_LETTERED)
        return True

    def _answer(self, envelope: Envelope, answer: object) -> None:
        if isinstance(answer, Exception):
            fate = Fate.REJECTED
            if envelope.reply is not None:
                envelope.reply.fail(answer)
        else:
            fate = Fate.HANDLED if envelope.deliveries == 1 else Fate.REDELIVERED
            if envelope.reply is not None:
                envelope.reply.succeed(answer)
        self.mailbox.settle(envelope, fate)

    def _crash(self, envelope: Envelope, error: BaseException) -> None:
        self.mailbox.settle(envelope, Fate.CRASHED)
        if envelope.reply is not None:
            envelope.reply.fail(ActorCrashed(self.name, error))

    def _interrupt(self, batch: list[Envelope], error: BaseException) -> None:
        # A cancellation is not the message's fault: the next incarnation gets it, at the head.
        for envelope in reversed(batch):
            if envelope.deliveries < _MAX_DELIVERIES:
                self.mailbox.put_back(envelope)
            else:
                self._crash(envelope, error)
