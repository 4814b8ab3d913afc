"""Receipts: the ids of the messages that were handled, an empty file for each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from botvisor.wire import DONE_DIR, id_digest

from .directory import Directory


class Receipts:
    """The handled ids of a spool's queues.

    Args:
        spool: the spool's directory; the receipts are inside.
    """

    def __init__(self, spool: Directory) -> None:
        self.directory = spool.sub(DONE_DIR)

    def has(self, lease: str, message_id: str) -> bool:
        """Return whether a queue's message was handled."""
        return self.directory.stat(_name(lease, message_id)) is not None

    def digests(self, lease: str) -> Iterator[str]:
        """Yield what stands for the ids of a queue's messages that were handled."""
        # Only this queue's: "a." begins the receipts of "a.b" as well.
        names = (name.rpartition(".") for name in self.directory.names())
        return (digests for key, _, digests in names if key == lease)

    def take(self, lease: str, message_id: str, source: Directory, name: str) -> bool:
        """Turn a message's file into its receipt: in one step it leaves its queue and its id is recorded.

        The rename is not synced: after a loss of power the message is still in flight, or doubtful.

        Returns:
            Whether the file was there.
        """
        receipt = _name(lease, message_id)
        if not source.move(name, self.directory, receipt):
            return False
        with contextlib.suppress(OSError):  # the message is gone from its queue, which is what counts
            os.truncate(self.directory.at(receipt), 0)
        return True

    def add(self, lease: str, message_id: str) -> None:
        """Record the id of a message whose file is not in flight here any more."""
        if not self.has(lease, message_id):
            self.directory.write(_name(lease, message_id), b"", sync=False)


def _name(lease: str, message_id: str) -> str:
    return f"{lease}.{id_digest(message_id)}"
