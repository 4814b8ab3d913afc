"""A queue of the spool that we hold the lease of: at most one of its messages is in flight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from botvisor.errors import LeaseLost, MalformedMessage
from botvisor.message_forms import parse_object, read_id
from botvisor.process import Owner, boot_time_s
from botvisor.store import Claim, Done, Queue
from botvisor.wire import CLAIM_DIR, MAX_MESSAGE_BYTES, MAX_TRIES, MESSAGE_SUFFIX, id_digest

from .dead_letters import DeadLetter, DeadLetters
from .directory import Directory
from .lock import FileLease
from .private_file import FileContent, UnsafeFile
from .quarantine import Quarantine
from .receipts import Receipts
from .spool_index import SpoolIndex
from .spool_names import ClaimedName, Place, encode_attempt, is_forwarded, original_name

_RETURNED = "-"  # no reader's name: a dash is encoded there


@dataclass(frozen=True, slots=True)
class SpoolParts:
    """What all queues of one spool share."""

    directory: Directory
    index: SpoolIndex
    receipts: Receipts
    dead: DeadLetters
    quarantine: Quarantine


class InFlight(NamedTuple):
    """The message in flight: its file's name, and the file's number, which renames leave as it is."""

    file: ClaimedName
    inode: int

    @property
    def token(self) -> str:
        """What it is acknowledged by; a later file of the same name has another."""
        return f"{self.inode:x}.{self.file.name}"


class ServedQueue:
    """One queue of the spool, from acquiring its lease to losing it.

    A message is claimed by renaming its file into the queue's own directory, and acknowledged by renaming it
    on: each is one atomic step, so a process that is killed leaves the message either before or after it.
    Whoever serves the queue next finds there what was in flight.

    Args:
        queue: the queue.
        place: where it is in the spool.
        parts: what it shares with the other queues.
    """

    def __init__(self, queue: Queue, place: Place, parts: SpoolParts) -> None:
        self._queue = queue
        self._place = place
        self._spool = parts
        self._claims = parts.directory.sub(CLAIM_DIR).sub(place.lease)
        self._lease = FileLease(parts.directory.at(f"{place.lease}.lock"))
        self._in_flight: InFlight | None = None

    def acquire(self, owner: Owner) -> Owner | None:
        """Acquire or renew the lease. Returns None, or the owner that holds it."""
        if self._lease.held_by(owner.instance):
            return None
        holder = self._lease.acquire(owner)
        if holder is None:
            self._adopt()
            self._spool.index.serve(self._place.prefix)
        return holder

    def release(self, instance: str) -> bool:
        """Give the lease up if it is this instance's. Returns whether nobody here holds it now."""
        self._lease.release(instance)
        if self._lease.owner is None:
            self._spool.index.forget(self._place.prefix)
            self._spool.receipts.forget(self._place.lease)
            return True
        return False

    def close(self) -> None:
        """Let go of the lease as a process does that dies."""
        self._lease.close()

    def next(self, instance: str, attempt: str, done: Done | None, *, take: bool) -> Claim | None:
        """Acknowledge what was handled, then return the message in flight or claim one; see `NextMessage`.

        Raises:
            LeaseLost: when the lease is not this instance's.
            StoreUnavailable: when files cannot be read or renamed.
        """
        self._check(instance)
        if done is not None:
            self._acknowledge(done)
        if not take:
            return None
        reader = encode_attempt(attempt)
        return self._show_again(reader) or self._claim(reader)

    def put_back(self, instance: str, token: str) -> None:
        """Put the message in flight, which nobody was shown, back at the head; see `ReturnMessage`."""
        self._check(instance)
        current = self._in_flight
        if current is None or current.token != token:
            return
        tries, reader, name = current.file
        if reader == _RETURNED:
            return  # a repeat must not take away a second try
        if tries > 1:
            # Somebody was shown it before: its tries must not be forgotten, so it stays in flight.
            self._rename(current, ClaimedName(tries - 1, _RETURNED, name))
            return
        goal = name
        if self._spool.directory.stat(goal) is not None:
            goal = f"{self._place.prefix}{id_digest(current.token)}{MESSAGE_SUFFIX}"
        self._in_flight = None
        found = self._claims.stat(str(current.file))
        if found is not None and self._claims.move(str(current.file), self._spool.directory, goal):
            self._spool.index.put(self._place.prefix, goal, found.st_mtime_ns)

    def bury(self, instance: str, token: str, reason: str, *, malformed: bool) -> None:
        """Give the message in flight up; see `BuryMessage`."""
        self._check(instance)
        if self._in_flight is None or self._in_flight.token != token:
            return
        if malformed:
            self._spool.quarantine.put(self._claims, str(self._in_flight.file), reason)
            self._in_flight = None
        else:
            self._give_up(self._in_flight, reason)

    def _check(self, instance: str) -> None:
        if not self._lease.held_by(instance):
            raise LeaseLost(str(self._queue))

    def _adopt(self) -> None:
        found = []
        for entry in self._claims.entries():
            name = ClaimedName.parse(entry.name)
            if name is not None:
                facts = entry.stat(follow_symlinks=False)
                found.append((facts.st_mtime_ns, InFlight(name, facts.st_ino)))
        self._in_flight = min(found)[1] if found else None

    def _rename(self, current: InFlight, name: ClaimedName) -> InFlight | None:
        moved = self._claims.move(str(current.file), self._claims, str(name))
        self._in_flight = current._replace(file=name) if moved else None
        return self._in_flight

    def _acknowledge(self, done: Done) -> None:
        current = self._in_flight
        if current is not None and current.token == done.token:
            taken = self._spool.receipts.take(
                self._place.lease, done.message_id, self._claims, str(current.file)
            )
            self._in_flight = None
            if taken:
                return
        self._spool.receipts.add(self._place.lease, done.message_id)

    def _show_again(self, reader: str) -> Claim | None:
        """Return the message in flight, with one more try for another reader; None if there is none now."""
        current = self._in_flight
        if current is None:
            return None
        tries, last_reader, name = current.file
        if reader != last_reader:
            if tries >= MAX_TRIES:
                self._give_up(current, f"not handled in {tries} tries")
                return None
            current = self._rename(current, ClaimedName(tries + 1, reader, name))
        content = self._read_claimed(current) if current is not None else None
        if current is None or content is None:
            return None
        return self._hand_out(current, content)

    def _claim(self, reader: str) -> Claim | None:
        """Claim the oldest file that holds a message; None when there is none."""
        index, prefix = self._spool.index, self._place.prefix
        while (name := index.first(prefix)) is not None:
            content = self._read_waiting(name)
            if content is None:
                continue
            file = ClaimedName(1, reader, name)
            if not file.fits:
                file = ClaimedName(1, reader, f"{prefix}{id_digest(name)}{MESSAGE_SUFFIX}")
            taken = self._spool.directory.move(name, self._claims, str(file))
            index.drop(prefix, name)
            if taken:
                self._in_flight = InFlight(file, content.stat.st_ino)
                return self._hand_out(self._in_flight, content)
        return None

    def _hand_out(self, current: InFlight, content: FileContent) -> Claim:
        name = current.file.name
        return Claim(
            token=current.token,
            raw=content.raw,
            name=original_name(name),
            tries=current.file.tries,
            source="file",
            stored_at=content.stat.st_mtime,
            done=self._spool.receipts.has(self._place.lease, message_id(content.raw, name)),
            # A claim is not synced: a file older than this boot may have been claimed before it. And what
            # Redis has as well may have been shown from there.
            doubtful=content.stat.st_mtime < boot_time_s() or is_forwarded(name),
        )

    def _read_waiting(self, name: str) -> FileContent | None:
        """Read a waiting file; None when there is no message in it, which has been dealt with then."""
        spool, prefix = self._spool, self._place.prefix
        content = None
        try:
            content = spool.directory.read(name, MAX_MESSAGE_BYTES)
        except UnsafeFile as error:
            spool.quarantine.put(spool.directory, name, str(error))
        if content is not None and content.too_large:
            self._bury(spool.directory, name, ClaimedName(0, "", name), content, "")
        elif content is not None:
            problem = _problem(content.raw)
            if problem is None:
                return content
            if spool.index.rest(prefix, name, content.stat):
                return None
            spool.quarantine.put(spool.directory, name, problem)
        spool.index.drop(prefix, name)
        return None

    def _read_claimed(self, current: InFlight) -> FileContent | None:
        """Read the message in flight; None when it is in flight no more."""
        content = None
        try:
            content = self._claims.read(str(current.file), MAX_MESSAGE_BYTES)
        except UnsafeFile as error:
            self._spool.quarantine.put(self._claims, str(current.file), str(error))
        if content is None:
            self._in_flight = None
        return content

    def _give_up(self, current: InFlight, reason: str) -> None:
        content = self._read_claimed(current)
        if content is not None:
            self._bury(self._claims, str(current.file), current.file, content, reason)
            self._in_flight = None

    def _bury(
        self, source: Directory, file_name: str, claimed: ClaimedName, content: FileContent, reason: str
    ) -> None:
        letter = DeadLetter(
            queue=str(self._queue),
            name=claimed.name,
            reason=reason,
            tries=claimed.tries,
            stored_at=content.stat.st_mtime,
        )
        known_by = message_id(content.raw, claimed.name)
        self._spool.dead.take(self._place.lease, known_by, letter, content, source, file_name)


def message_id(raw: bytes, name: str) -> str:
    """Return what a message is known by: its own id, or else its file's name."""
    try:
        return read_id(parse_object(raw).get("id")) or original_name(name)
    except MalformedMessage:
        return original_name(name)


def _problem(raw: bytes) -> str | None:
    try:
        parse_object(raw)
    except MalformedMessage as error:
        return error.reason
    return None
