"""What the tests of the outbox share: senders, each as it were a process."""

import msgspec
import pytest

from botvisor.actors.backend.directory import Directory
from botvisor.actors.backend.outbox import Outbox, draft
from botvisor.actors.backend.quarantine import Quarantine
from botvisor.store import PushMessage, Queue

QUEUE = Queue("bot", "ada")


class Sender:
    """One process's outbox, as it were; all senders of a test share a directory.

    Args:
        folder: the directory of admin messages.
        limits: how much it keeps.
    """

    def __init__(self, folder, **limits):
        self.notices = []
        spool = Directory(folder)
        quarantine = Quarantine(spool, lambda level, text: self.notices.append(f"{level} {text}"))
        self.outbox = Outbox(spool, quarantine, **limits)

    def keep(self, message_id="m", *, size=0, pushed=True):
        raw = msgspec.json.encode({"id": message_id, "message": "hi" + "x" * size})
        copy, kept = draft(PushMessage(QUEUE, message_id, raw, durable=True))
        self.outbox.keep(copy, kept)
        copy.pushed = pushed
        return copy

    @property
    def ids(self):
        return [copy.message_id for copy in self.outbox.copies()]

    def die(self):
        """End as a process does that is killed: the kernel ends its lock."""
        self.outbox._lease.close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "admin_message"


@pytest.fixture
def sender(folder):
    """Make senders; each dies with the test."""
    made = []

    def make(**limits):
        made.append(Sender(folder, **limits))
        return made[-1]

    yield make
    for each in made:
        each.die()


def files(folder):
    return sorted((folder / "outbox").glob("*/*"))
