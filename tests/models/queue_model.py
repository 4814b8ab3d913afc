"""What a queue of admin messages does, told in the plainest way."""

from dataclasses import dataclass


@dataclass
class Entry:
    """One message that was stored; two may have one id, or none and the same text."""

    raw: bytes
    message_id: str | None
    tries: int = 0
    attempt: str | None = None


class QueueModel:
    """Entries wait, at most one is in flight, and each ends handled or dead."""

    def __init__(self):
        self.holder = None  # the instance that has the lease
        self.waiting = []
        self.in_flight = None
        self.handled = []
        self.dead = []
        self.done_ids = set()

    def push(self, raw, message_id):
        self.waiting.append(Entry(raw, message_id))

    def next(self, attempt):
        """Return the entry that is shown, or None."""
        entry = self.in_flight
        if entry is not None and entry.attempt != attempt and entry.tries == 3:
            self.bury()
        if self.in_flight is None and self.waiting:
            self.in_flight = self.waiting.pop(0)
        entry = self.in_flight
        if entry is not None and entry.attempt != attempt:
            entry.attempt = attempt
            entry.tries += 1
        return entry

    def acknowledge(self):
        entry, self.in_flight = self.in_flight, None
        self.handled.append(entry)
        if entry.message_id is not None:
            self.done_ids.add(entry.message_id)

    def put_back(self):
        entry = self.in_flight
        entry.tries -= 1
        entry.attempt = None
        if entry.tries == 0:
            self.in_flight = None
            self.waiting.insert(0, entry)

    def bury(self):
        self.dead.append(self.in_flight)
        self.in_flight = None

    def listed(self):
        """Return what is in the queue: the bytes, the state and the tries of each, in no order."""
        flying = [self.in_flight] if self.in_flight is not None else []
        return sorted(
            [(entry.raw, "stored", 0) for entry in self.waiting]
            + [(entry.raw, "delivered", entry.tries) for entry in flying]
            + [(entry.raw, "dead", entry.tries) for entry in self.dead]
        )

    def receipt(self, message_id):
        """Return the states that a message may be said to be in: it may be there twice."""
        states = {"handled"} if message_id in self.done_ids else set()
        for state, entries in (
            ("stored", self.waiting),
            ("dead", self.dead),
            ("delivered", [self.in_flight] if self.in_flight is not None else []),
        ):
            states |= {state for entry in entries if entry.message_id == message_id}
        return states or {"unknown"}
