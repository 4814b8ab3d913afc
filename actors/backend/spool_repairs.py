"""What operators mend in the spool by hand: dead letters go back into their queues, messages are dropped."""

from __future__ import annotations

from collections.abc import Callable

from botvisor.errors import StoreError
from botvisor.mending import DropMessage, RequeueMessage
from botvisor.wire import MAX_MESSAGE_BYTES

from .dead_letters import ENTRY
from .served_queue import SpoolParts
from .spool_names import Place, place_of


class SpoolRepairs:
    """Mends the queues of a spool.

    Args:
        parts: what its queues share.
        lower_path: whether room URLs differ in more than the case of their path.
        write: writes a message: how its file's name begins, what it is known by, its bytes.
    """

    def __init__(
        self, parts: SpoolParts, *, lower_path: bool, write: Callable[[str, str, bytes], None]
    ) -> None:
        self._parts = parts
        self._lower_path = lower_path
        self._write = write

    def requeue(self, command: RequeueMessage) -> bool:
        """See `RequeueMessage`."""
        place = self._place(command)
        letter = command.entry.removeprefix(ENTRY)
        if letter == command.entry or not self._parts.dead.has(place.lease, letter):
            return False
        if self._parts.dead.is_unread(letter) or len(command.raw) > MAX_MESSAGE_BYTES:
            raise StoreError(f"it has more than {MAX_MESSAGE_BYTES} bytes: no bot would be shown it")
        # Written first: nothing is lost in between, and a message that is there twice is known by its id.
        self._write(place.prefix, command.message_id, command.raw)
        return self._parts.dead.remove(letter)

    def drop(self, command: DropMessage) -> bool:
        """See `DropMessage`."""
        place = self._place(command)
        letter = command.entry.removeprefix(ENTRY)
        if letter != command.entry:
            return self._parts.dead.has(place.lease, letter) and self._parts.dead.remove(letter)
        if not command.entry.startswith(place.prefix):
            return False
        # Whoever serves the queue finds that the file has gone when it comes to it.
        return self._parts.directory.exists() and self._parts.directory.remove(command.entry)

    def _place(self, command: RequeueMessage | DropMessage) -> Place:
        return place_of(command.queue, lower_path=self._lower_path)
