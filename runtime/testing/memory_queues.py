"""A queue of admin messages in memory, with the semantics of every store's queues."""

from __future__ import annotations

import itertools
import time
from collections import deque

import msgspec

from botvisor.errors import LeaseLost, MalformedMessage, StoreError
from botvisor.mending import DropMessage, RequeueMessage
from botvisor.message_forms import parse_object, read_id
from botvisor.process import Owner
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Claim,
    Done,
    MessageState,
    NextMessage,
    Past,
    PushMessage,
    Queue,
    QueuedMessage,
    ReadPast,
    ReleaseLease,
    ReturnMessage,
)
from botvisor.wire import (
    ADMIN_TTL_S,
    DEAD_LIMIT,
    DEAD_TTL_S,
    DONE_TTL_S,
    LEASE_TTL_S,
    MAX_MESSAGE_BYTES,
    MAX_TRIES,
    QUARANTINE_LIMIT,
    id_digest,
)

_tokens = itertools.count(1)


class _Entry(msgspec.Struct):
    """A message in a queue."""

    raw: bytes
    name: str
    stored_at: float
    since: float
    token: str
    tries: int = 0
    attempt: str | None = None
    reason: str = ""

    @property
    def known_by(self) -> str:
        try:
            return read_id(parse_object(self.raw).get("id")) or self.name
        except MalformedMessage:
            return self.name

    def queued(self, state: MessageState) -> QueuedMessage:
        return QueuedMessage(
            raw=self.raw,
            name=self.name,
            state=state,
            tries=self.tries,
            reason=self.reason,
            stored_at=self.stored_at,
            entry="" if state == "delivered" else self.token,
        )


class MemoryQueue:
    """One queue.

    Every method takes the time by the store's clock, in seconds.

    Args:
        queue: whose it is.

    Attributes:
        quarantined: the bytes of malformed messages, and what is wrong with each.
    """

    def __init__(self, queue: Queue) -> None:
        self.quarantined: deque[tuple[bytes, str]] = deque(maxlen=QUARANTINE_LIMIT)
        self._queue = queue
        self._waiting: deque[_Entry] = deque()
        self._in_flight: _Entry | None = None
        self._done: dict[str, float] = {}
        self._dead: deque[_Entry] = deque(maxlen=DEAD_LIMIT)
        self._owner: Owner | None = None
        self._leased_until = 0.0

    def push(self, command: PushMessage, now: float) -> None:
        """See `PushMessage`."""
        token = f"memory-{next(_tokens)}"
        self._waiting.append(_Entry(command.raw, command.message_id, time.time(), now, token))

    def acquire(self, command: AcquireLease, now: float) -> Owner | None:
        """See `AcquireLease`. A lease that is not renewed ends after `LEASE_TTL_S` seconds."""
        owner = self._owner if self._leased_until > now else None
        if owner is not None and owner.instance != command.owner.instance:
            return owner
        self._owner = command.owner
        self._leased_until = now + LEASE_TTL_S
        return None

    def release(self, command: ReleaseLease) -> None:
        """See `ReleaseLease`."""
        if self._owner is not None and self._owner.instance == command.instance:
            self._owner = None

    def next(self, command: NextMessage, now: float) -> Claim | None:
        """See `NextMessage`."""
        self._check(command.instance, now)
        if command.done is not None:
            self._acknowledge(command.done, now)
        if not command.take:
            return None
        entry = self._in_flight
        if entry is not None and entry.attempt != command.attempt and entry.tries >= MAX_TRIES:
            self._bury(entry, f"not handled in {entry.tries} tries", now)
        if self._in_flight is None:
            self._in_flight = self._take_next()
        entry = self._in_flight
        if entry is None:
            return None
        if entry.attempt != command.attempt:
            entry.attempt = command.attempt
            entry.tries += 1
        return Claim(
            token=entry.token,
            raw=entry.raw,
            name=entry.name,
            tries=entry.tries,
            source="memory",
            stored_at=entry.stored_at,
            done=entry.known_by in self._done,
        )

    def put_back(self, command: ReturnMessage, now: float) -> bool:
        """See `ReturnMessage`. Returns whether a message waits again."""
        entry = self._current(command.instance, command.token, now)
        if entry is None or entry.attempt is None:
            return False  # a repeat must not take away a second try
        entry.tries -= 1
        entry.attempt = None
        # One that somebody was shown before stays in flight, as it does in the other stores.
        if entry.tries == 0:
            self._in_flight = None
            self._waiting.appendleft(entry)
        return True

    def bury(self, command: BuryMessage, now: float) -> None:
        """See `BuryMessage`."""
        entry = self._current(command.instance, command.token, now)
        if entry is None:
            return
        if command.malformed:
            self.quarantined.append((entry.raw, command.reason))
            self._in_flight = None
        else:
            self._bury(entry, command.reason, now)

    def receipt(self, message_id: str) -> MessageState:
        """See `ReadReceipt`."""
        if message_id in self._done:
            return "handled"
        if self._in_flight is not None and self._in_flight.known_by == message_id:
            return "delivered"
        if any(message_id in {entry.name, entry.known_by} for entry in self._waiting):
            return "stored"
        return "dead" if any(entry.known_by == message_id for entry in self._dead) else "unknown"

    def messages(self) -> list[QueuedMessage]:
        """See `ListMessages`."""
        found = [entry.queued("dead") for entry in self._dead]
        if self._in_flight is not None:
            found.append(self._in_flight.queued("delivered"))
        found += [entry.queued("stored") for entry in self._waiting]
        return sorted(found, key=lambda message: message.stored_at)

    def requeue(self, command: RequeueMessage, now: float) -> bool:
        """See `RequeueMessage`."""
        if len(command.raw) > MAX_MESSAGE_BYTES:
            raise StoreError(f"it has more than {MAX_MESSAGE_BYTES} bytes: no bot would be shown it")
        letter = self._pop(self._dead, command.entry)
        if letter is not None:
            self.push(PushMessage(self._queue, command.message_id, command.raw), now)
        return letter is not None

    def drop(self, command: DropMessage) -> bool:
        """See `DropMessage`."""
        found = self._pop(self._dead, command.entry) or self._pop(self._waiting, command.entry)
        return found is not None

    def past(self, command: ReadPast) -> Past:
        """See `ReadPast`."""
        entry = self._in_flight
        foreign = entry is not None and not (entry.attempt or "").startswith(command.instance)
        return Past(
            handled=frozenset(map(id_digest, self._done)),
            dead=frozenset(id_digest(entry.known_by) for entry in self._dead),
            in_flight=id_digest(entry.known_by) if entry is not None and foreign else "",
        )

    def is_leased(self, now: float) -> bool:
        """Return whether somebody holds the lease."""
        return self._owner is not None and self._leased_until > now

    def sweep(self, now: float) -> int:
        """Delete what has expired. Returns how much that was."""
        count = self._count()
        self._waiting = deque(entry for entry in self._waiting if now - entry.since <= ADMIN_TTL_S)
        self._dead = deque((entry for entry in self._dead if now - entry.since <= DEAD_TTL_S), DEAD_LIMIT)
        self._done = {known_by: at for known_by, at in self._done.items() if now - at <= DONE_TTL_S}
        return count - self._count()

    def _pop(self, entries: deque[_Entry], token: str) -> _Entry | None:
        found = next((entry for entry in entries if entry.token == token), None)
        if found is not None:
            entries.remove(found)
        return found

    def _count(self) -> int:
        return len(self._waiting) + len(self._dead) + len(self._done)

    def _check(self, instance: str, now: float) -> None:
        if self._owner is None or self._owner.instance != instance or self._leased_until <= now:
            raise LeaseLost(str(self._queue))

    def _current(self, instance: str, token: str, now: float) -> _Entry | None:
        self._check(instance, now)
        entry = self._in_flight
        return entry if entry is not None and entry.token == token else None

    def _acknowledge(self, done: Done, now: float) -> None:
        self._done[done.message_id] = now
        if self._in_flight is not None and self._in_flight.token == done.token:
            self._in_flight = None

    def _take_next(self) -> _Entry | None:
        while self._waiting:
            entry = self._waiting.popleft()
            try:
                parse_object(entry.raw)
            except MalformedMessage as error:
                self.quarantined.append((entry.raw, error.reason))
                continue
            return entry
        return None

    def _bury(self, entry: _Entry, reason: str, now: float) -> None:
        entry.reason, entry.since = reason, now
        self._dead.append(entry)
        self._in_flight = None
