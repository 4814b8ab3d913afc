"""The outbox: a synced copy of each durable message, kept by who sent it until it was handled."""

# ruff: noqa: PTH106

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from botvisor import process
from botvisor.errors import MalformedMessage, StoreError, StoreUnavailable
from botvisor.messages import mark_resent
from botvisor.store import PushMessage, Queue, QueueKind
from botvisor.wire import MAX_MESSAGE_BYTES, MESSAGE_SUFFIX, VERSION, id_digest, outbox_path

from .directory import Directory
from .lock import FileLease, unheld
from .private_file import UnsafeFile
from .quarantine import Quarantine
from .steady_clock import SteadyClock

COPIES = 10_000
BYTES = 67_108_864

_LIMIT = MAX_MESSAGE_BYTES + 65_536  # bytes of a file
_LOCK = ".lock"


@dataclass(slots=True, eq=False)
class Copy:
    """One message that is kept.

    Args:
        name: its file's name.
        queue: where it was sent to.
        message_id: its id.
        sent_at: when, in seconds since the epoch.
        size: the bytes of its file.
        wanted: whether it is to be kept; only who sends it clears this.
        pushed: whether a store has taken it: until then it is not to be sent again.
        misses: how often in a row no store knew of it.
        look_at: when its receipt is read again, by `time.monotonic`.
        pause_s: for how long it was not read before.
    """

    name: str
    queue: Queue
    message_id: str
    sent_at: float
    size: int
    wanted: bool = True
    pushed: bool = False
    misses: int = 0
    look_at: float = 0.0
    pause_s: float = 0.0


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line of a copy's file; the message follows, marked as it is sent again."""

    v: int = VERSION
    kind: QueueKind
    key: str
    id: str
    at_ms: int


def draft(command: PushMessage) -> tuple[Copy, bytes]:
    """Return how a message is kept, and the bytes of its file.

    Raises:
        MalformedMessage: when it has no room for the mark of a repeat.
    """
    queue, sent_at = Queue(command.queue.kind, command.queue.key), time.time()
    head = _Head(kind=queue.kind, key=queue.key, id=command.message_id, at_ms=int(sent_at * 1000))
    raw = msgspec.json.encode(head) + b"\n" + mark_resent(command.raw)
    if len(raw) > _LIMIT:
        raise MalformedMessage(f"{len(raw)} bytes with where it goes, more than {_LIMIT}")
    # Not by its id alone: two messages may have the same one, and each is kept for its own sake.
    name = f"{id_digest(command.message_id)}-{secrets.token_hex(4)}{MESSAGE_SUFFIX}"
    return Copy(name, queue, command.message_id, sent_at, len(raw)), raw


class Outbox:
    """What one sender keeps, in a directory that is touched by nobody else while he holds its lock.

    A sender that has died holds no lock, and who comes next takes his copies over. The methods block, and
    may be called from any thread.

    Args:
        spool: the directory of admin messages.
        quarantine: where files go that are no copies.
        copies: at most how many messages are kept.
        size: at most how many bytes they have.

    Attributes:
        clock: tells what is too old.
    """

    def __init__(
        self, spool: Directory, quarantine: Quarantine, *, copies: int = COPIES, size: int = BYTES
    ) -> None:
        sender = process.new_instance()
        folder, _, self._name = outbox_path(sender).partition("/")
        self._spool = spool
        self.clock = SteadyClock(spool)
        self._root = spool.sub(folder)
        self._own = self._root.sub(self._name)
        self._owner = process.own(folder, sender)
        self._lease = FileLease(self._root.at(self._name + _LOCK))
        self._quarantine = quarantine
        self._most_copies, self._most_bytes = copies, size
        self._copies: dict[str, Copy] = {}
        self._bytes = 0
        self._mutex = threading.Lock()

    def __len__(self) -> int:
        """Return how many messages are kept."""
        return len(self._copies)

    def copies(self) -> list[Copy]:
        """Return what is kept of messages that a store has taken, oldest first."""
        with self._mutex:
            return sorted((c for c in self._copies.values() if c.pushed), key=lambda copy: copy.sent_at)

    def keep(self, copy: Copy, raw: bytes) -> None:
        """Keep a message that is about to be sent. Once this has returned its copy survives a loss of power.

        Whatever it raises, the copy is to be dropped then.

        Args:
            copy: what `draft` returned.
            raw: the same.

        Raises:
            StoreError: when the outbox is full.
            StoreUnavailable: when it cannot be written.
        """
        with self._mutex:
            if not self._has_room_for(copy):
                raise StoreError(
                    f"{self._root} is full: {len(self._copies)} durable messages were not handled yet"
                )
            self._open()
            self._add(copy)
        self._own.write(copy.name, raw)
        if not copy.wanted:  # whoever waited for it has left meanwhile, and dropped it too soon
            self.drop(copy)

    def drop(self, copy: Copy) -> None:
        """Keep a copy no longer.

        Raises:
            StoreUnavailable: when it cannot be deleted.
        """
        copy.wanted = False
        self._forget(copy)
        # A copy that came back after a loss of power would be sent, even if the first try had failed.
        if self._own.remove(copy.name) and not copy.pushed:
            self._own.sync()

    def read(self, copy: Copy) -> bytes | None:
        """Return a message as it is to be sent again; None when somebody took it away.

        Raises:
            StoreError: when it cannot be read.
        """
        found = self._own.read(copy.name, _LIMIT)
        if found is None:
            self._forget(copy)
            return None
        return found.raw.partition(b"\n")[2]

    def adopt(self) -> int:
        """Take over what senders have left who are no more, and see that the lock is still ours.

        Returns:
            How many messages were taken over.

        Raises:
            StoreError: when the outbox cannot be used.
        """
        with self._mutex:
            if self._copies:
                self._open()
            if not self._spool.exists() or not self._root.exists():
                return 0
            left = [entry.name for entry in self._root.entries() if entry.is_dir(follow_symlinks=False)]
            return sum(self._adopt(name) for name in sorted(left) if name != self._name)

    def close(self) -> None:
        """Let go of what is kept, for who comes next; leave nothing if nothing is."""
        with self._mutex:
            try:
                if not self._copies and self._lease.held_by(self._owner.instance):
                    _remove_empty(self._own)
                    self._lease.release(self._owner.instance)
            finally:
                self._lease.close()

    def _adopt(self, name: str) -> int:
        path, adopted = self._root.at(name + _LOCK), 0
        if not unheld(path):
            return 0
        lease = FileLease(path)
        if lease.acquire(self._owner) is not None:
            return 0
        theirs = self._root.sub(name)
        try:
            for copy in self._readable(theirs):
                if not self._has_room_for(copy):
                    break  # the next look goes on here
                self._open()
                if theirs.move(copy.name, self._own, copy.name):
                    self._add(copy)
                    adopted += 1
            if adopted:
                self._own.sync()
            _remove_empty(theirs)
        finally:
            lease.release(self._owner.instance)
        return adopted

    def _readable(self, folder: Directory) -> Iterator[Copy]:
        for name in sorted(folder.names()):
            try:
                found = folder.read(name, _LIMIT)
                if found is None:
                    continue
                head = msgspec.json.decode(found.raw.partition(b"\n")[0], type=_Head)
            except (UnsafeFile, msgspec.MsgspecError, ValueError) as error:
                self._quarantine.put(folder, name, str(error))
                continue
            queue, size = Queue(head.kind, head.key), len(found.raw)
            yield Copy(name, queue, head.id, head.at_ms / 1000, size, pushed=True)

    def _open(self) -> None:
        """Hold the lock, in a directory that is there.

        Raises:
            StoreError: when that cannot be had.
        """
        self._spool.ready()
        if not self._root.exists():
            self._root.ready()
            self._spool.sync()
        holder = self._lease.acquire(self._owner)
        if holder is not None:  # somebody deleted the lock, and another took the directory over
            raise StoreUnavailable(f"{self._own} is being taken over by {holder}")
        if not self._own.exists():
            self._own.ready()
            self._root.sync()

    def _has_room_for(self, copy: Copy) -> bool:
        return len(self._copies) < self._most_copies and self._bytes + copy.size <= self._most_bytes

    def _add(self, copy: Copy) -> None:
        self._copies[copy.name] = copy
        self._bytes += copy.size

    def _forget(self, copy: Copy) -> None:
        with self._mutex:
            if self._copies.pop(copy.name, None) is not None:
                self._bytes -= copy.size


def _remove_empty(folder: Directory) -> None:
    with contextlib.suppress(OSError):  # something is in it
        os.rmdir(folder.path)
