"""What can be seen of the spool's queues without taking anything: for senders, successors and operators."""

from __future__ import annotations

from collections.abc import Iterator

from botvisor.store import (
    IsKept,
    IsServed,
    ListMessages,
    MessageState,
    Past,
    QueuedMessage,
    ReadPast,
    ReadReceipt,
)
from botvisor.wire import CLAIM_DIR, MAX_MESSAGE_BYTES, id_digest

from .directory import Directory
from .lock import unheld
from .private_file import UnsafeFile
from .served_queue import SpoolParts, message_id
from .spool_names import ClaimedName, Place, is_alias, original_name, place_of, tail_of

_LISTED = 1_000


class SpoolViews:
    """The views of all queues of a spool.

    Args:
        parts: what its queues share.
        lower_path: whether room URLs differ in more than the case of their path.
    """

    def __init__(self, parts: SpoolParts, *, lower_path: bool) -> None:
        self._parts = parts
        self._directory = parts.directory
        self._lower_path = lower_path

    def receipt(self, command: ReadReceipt) -> MessageState:
        """See `ReadReceipt`. Costs a listing of the directory while the message waits."""
        place, known_by = place_of(command.queue, lower_path=self._lower_path), command.message_id
        if not self._directory.exists():
            return "unknown"
        state = self._look_for(place, known_by)
        # It may have moved on from where we had yet to look to where we had looked.
        return state if state != "unknown" else self._look_for(place, known_by)

    def is_kept(self, command: IsKept) -> bool:
        """See `IsKept`: what is on the disk needs no mark."""
        return self.receipt(ReadReceipt(command.queue, command.message_id)) != "unknown"

    def is_served(self, command: IsServed) -> bool:
        """Return whether somebody holds the lease of a queue."""
        lease = place_of(command.queue, lower_path=self._lower_path).lease
        return self._directory.exists() and not unheld(self._directory.at(f"{lease}.lock"))

    def messages(self, command: ListMessages) -> list[QueuedMessage]:
        """See `ListMessages`: at most the 1,000 oldest that wait, and all others."""
        if is_alias(command.queue, lower_path=self._lower_path) or not self._directory.exists():
            return []
        place = place_of(command.queue, lower_path=self._lower_path)
        claimed = [message for _, message in self._claimed(place)]
        found = [*self._parts.dead.of(place.lease), *claimed, *self._waiting(place.prefix)]
        return sorted(found, key=lambda message: message.stored_at)

    def past(self, command: ReadPast) -> Past:
        """See `ReadPast`. Costs a listing of at most 20,000 receipts, and of all dead letters."""
        place = place_of(command.queue, lower_path=self._lower_path)
        if not self._directory.exists():
            return Past()
        in_flight = ""
        for claimed, message in self._claimed(place):
            if not claimed.attempt.startswith(command.instance):
                in_flight = id_digest(message_id(message.raw, message.name))
        return Past(
            handled=frozenset(self._parts.receipts.newest(place.lease)),
            dead=frozenset(self._parts.dead.digests(place.lease)),
            in_flight=in_flight,
        )

    def _look_for(self, place: Place, known_by: str) -> MessageState:
        if self._parts.receipts.has(place.lease, known_by):
            return "handled"
        if any(message_id(message.raw, message.name) == known_by for _, message in self._claimed(place)):
            return "delivered"
        tail = tail_of(known_by)
        for name in self._directory.names():
            if name.startswith(place.prefix) and (name.endswith(tail) or original_name(name) == known_by):
                return "stored"
        return "dead" if self._parts.dead.holds(place.lease, known_by) else "unknown"

    def _claimed(self, place: Place) -> Iterator[tuple[ClaimedName, QueuedMessage]]:
        claims = self._directory.sub(CLAIM_DIR).sub(place.lease)
        for entry in claims.entries():
            claimed = ClaimedName.parse(entry.name)
            if claimed is not None:
                for message in _read(claims, entry.name, claimed.name, claimed.tries):
                    yield claimed, message

    def _waiting(self, prefix: str) -> Iterator[QueuedMessage]:
        names = [name for name in self._directory.names() if name.startswith(prefix)]
        ages = [(facts.st_mtime_ns, name) for name in names if (facts := self._directory.stat(name))]
        for _, name in sorted(ages)[:_LISTED]:
            yield from _read(self._directory, name, name, 0)


def _read(directory: Directory, file_name: str, name: str, tries: int) -> Iterator[QueuedMessage]:
    """Yield a message that waits or is in flight; nothing if it went or is no plain file."""
    try:
        content = directory.read(file_name, MAX_MESSAGE_BYTES)
    except UnsafeFile:
        return
    if content is not None:
        yield QueuedMessage(
            raw=content.raw,
            name=name,
            state="delivered" if tries else "stored",
            tries=tries,
            stored_at=content.stat.st_mtime,
            store="file",
            entry="" if tries else file_name,
        )
