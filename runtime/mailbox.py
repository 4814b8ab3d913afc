"""The mailbox: a bounded anyio memory object stream that survives its readers."""

from __future__ import annotations

import bisect
from collections import Counter, deque
from operator import attrgetter

import anyio

from .envelope import Arrival, Envelope, Fate, new_arrival
from .errors import ActorStopped, MailboxFull


class Mailbox:
    """Holds an actor's messages across its restarts, and counts their fates.

    A reader never waits in the stream itself: a native cancellation would lose what a sender hands over to a
    waiting receiver. It waits for an event, then takes what is buffered. Of several readers one is woken at a
    time; when it leaves something behind, it is to `wake` the next.

    Args:
        actor: the actor's name.
        capacity: how many messages may wait.

    Attributes:
        closed: it takes no more messages in, but for the actor's own.
        in_hand: how many batches are being handled; who handles one looks here again when he is done.
    """

    def __init__(self, actor: str, capacity: int) -> None:
        self._actor = actor
        self._send, self._receive = anyio.create_memory_object_stream[Envelope](capacity)
        self._returned: list[Envelope] = []
        self._sent_at: deque[float] = deque()  # of what the stream holds: it cannot be looked into
        self._arrivals: list[Arrival] = []  # of readers that wait
        self.closed = False
        self.in_hand = 0
        self._disposed = False
        self.taken_in = 0
        self.fates: Counter[Fate] = Counter()

    def put(self, envelope: Envelope, *, own: bool = False, patient: bool = False) -> None:
        """Take a message in. Never blocks.

        Args:
            envelope: the message.
            own: the actor itself sends it, which it may while the mailbox is closed to others.
            patient: it can wait for a batch that is being handled, and is not to begin one beside it.

        Raises:
            ActorStopped: when the actor is stopped or parked.
            MailboxFull: when as many wait as may.
        """
        if self._disposed or (self.closed and not own):
            raise ActorStopped(self._actor)
        try:
            self._send.send_nowait(envelope)
        except anyio.WouldBlock:
            raise MailboxFull(self._actor) from None
        self._sent_at.append(envelope.sent_at)
        envelope.number = self.taken_in
        self.taken_in += 1
        if not (patient and self.in_hand):
            self.wake()

    def take(self) -> Envelope | None:
        """Take the next message out, or return None when none waits."""
        if self._returned:
            envelope = self._returned.pop(0)
        elif self._sent_at:
            envelope = self._receive.receive_nowait()
            self._sent_at.popleft()
        else:
            return None
        envelope.deliveries += 1
        return envelope

    def put_back(self, envelope: Envelope) -> None:
        """Put a message that was being handled back to where it came from, for the next incarnation."""
        bisect.insort(self._returned, envelope, key=attrgetter("number"))

    async def wait(self) -> None:
        """Wait until something may have come. May return early."""
        if len(self):
            return
        arrival = new_arrival()
        self._arrivals.append(arrival)
        try:
            await arrival
        finally:
            self._arrivals.remove(arrival)

    def wake(self) -> None:
        """Make a `wait` return, unless one is just about to."""
        if self._arrivals and not self._arrivals[0].done():
            self._arrivals[0].set_result(None)

    def settle(self, envelope: Envelope, fate: Fate) -> None:
        """Record a message's fate, once."""
        if envelope.fate is not None:
            raise RuntimeError(f"a message of {self._actor} was {envelope.fate.value}, and now {fate.value}")
        envelope.fate = fate
        self.fates[fate] += 1

    def bury(self, envelope: Envelope) -> None:
        """End a message as a dead letter; an ask ends with `ActorStopped`."""
        self.settle(envelope, Fate.DEAD_LETTERED)
        if envelope.reply is not None:
            envelope.reply.fail(ActorStopped(self._actor))

    def close(self) -> None:
        """Take no more messages in; what waits can still be taken out."""
        self.closed = True

    def reopen(self) -> None:
        """Take messages in again, after `close`."""
        self.closed = False

    def empty(self) -> list[Envelope]:
        """Take everything out, as dead letters.

        Returns:
            What was taken out.
        """
        letters = []
        while (envelope := self.take()) is not None:
            letters.append(envelope)
            self.bury(envelope)
        return letters

    def dispose(self) -> None:
        """Close the streams for good. The mailbox must be empty."""
        self.closed = self._disposed = True
        self._send.close()
        self._receive.close()

    def oldest_s(self, now: float) -> float:
        """Return how long the oldest message has waited, in seconds; 0 when none waits."""
        if self._returned:
            return now - self._returned[0].sent_at
        return now - self._sent_at[0] if self._sent_at else 0.0

    def __len__(self) -> int:
        return len(self._returned) + len(self._sent_at)
