"""Dead letters: messages given up, with the reason, for operators to see."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import time
from collections.abc import Iterator

import msgspec

from botvisor.errors import MalformedMessage, StoreError
from botvisor.message_forms import parse_object
from botvisor.store import QueuedMessage
from botvisor.wire import DEAD_DIR, DEAD_LIMIT, MAX_MESSAGE_BYTES, MESSAGE_SUFFIX, VERSION, id_digest

from .directory import Directory
from .private_file import FileContent

ENTRY = "dead:"
"""How the entries begin that name dead letters, among those of a spool; their files' names follow."""

_UNREAD_SUFFIX = ".unread"
# Base64 makes four bytes of three; the other fields are short.
_RECORD_LIMIT = 2 * MAX_MESSAGE_BYTES
_NAME = re.compile(r"(.+)\.([0-9a-f]{32})\.[0-9a-f]{32}\.json", re.DOTALL)


class DeadLetter(msgspec.Struct, kw_only=True):
    """A message that was given up, as its file holds it.

    Args:
        reason: why it was given up.
        queue: the queue, in words.
        name: its file's name.
        tries: how often it was claimed.
        stored_at: when it was stored, in seconds since the epoch.
        at: when it was given up, in seconds since the epoch.
        message: the message, if it is a JSON object.
        bytes: its bytes in Base64, if it is not; neither, when it was too large to be read.
        v: the version of this object.
    """

    reason: str
    queue: str
    name: str
    tries: int = 0
    stored_at: float = 0.0
    at: float = 0.0
    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    bytes: str | msgspec.UnsetType = msgspec.UNSET
    v: int = VERSION


class DeadLetters:
    """The dead letters of a spool: at most `DEAD_LIMIT`, the oldest are dropped.

    A letter is named by its queue, its message's id and its message's file: to write it again changes
    nothing, and another message of the same id has a letter of its own.

    Args:
        spool: the spool's directory; the dead letters are inside.
    """

    def __init__(self, spool: Directory) -> None:
        self.directory = spool.sub(DEAD_DIR)

    def take(
        self,
        lease: str,
        message_id: str,
        letter: DeadLetter,
        content: FileContent,
        source: Directory,
        file_name: str,
    ) -> None:
        """Write a dead letter to disk, then take its message away from where it is.

        A message that is too large is never read: its file is kept beside the letter.

        Args:
            lease: what the queue is named by in file names.
            message_id: what the message is known by.
            letter: the letter; time and content are added to it.
            content: what the message's file holds.
            source: where that file is.
            file_name: its name there.

        Raises:
            StoreUnavailable: when the letter cannot be written; the message is where it was then.
        """
        letter = msgspec.structs.replace(letter, at=time.time())
        if content.too_large:
            letter.reason = f"{content.stat.st_size} bytes, more than {MAX_MESSAGE_BYTES}"
        else:
            try:
                parse_object(content.raw)
                letter.message = msgspec.Raw(content.raw)
            except MalformedMessage:
                letter.bytes = base64.b64encode(content.raw).decode()
        name = _name(lease, message_id, content.stat)
        self.directory.write(name, msgspec.json.encode(letter))
        if content.too_large:
            source.move(file_name, self.directory, _unread(name))
        else:
            source.remove(file_name)
        self._trim()

    def holds(self, lease: str, message_id: str) -> bool:
        """Return whether a queue's message was given up. Costs a listing."""
        return id_digest(message_id) in self.digests(lease)

    def digests(self, lease: str) -> Iterator[str]:
        """Yield what stands for the ids of a queue's dead letters."""
        for name in self._names(lease):
            yield _digest(lease, name)

    def of(self, lease: str) -> Iterator[QueuedMessage]:
        """Go through a queue's dead letters, in no order."""
        for name in self._names(lease):
            with contextlib.suppress(StoreError, msgspec.MsgspecError, ValueError):
                found = self.directory.read(name, _RECORD_LIMIT)
                if found is not None:
                    yield _queued(msgspec.json.decode(found.raw, type=DeadLetter), ENTRY + name)

    def has(self, lease: str, name: str) -> bool:
        """Return whether a file is the letter of a queue's message."""
        return bool(_digest(lease, name)) and self.directory.stat(name) is not None

    def is_unread(self, name: str) -> bool:
        """Return whether a letter's message was too large to be read."""
        return self.directory.stat(_unread(name)) is not None

    def remove(self, name: str) -> bool:
        """Delete a letter, and what was too large to be in it. Returns whether it was there."""
        removed = self.directory.remove(name)
        self.directory.remove(_unread(name))
        return removed

    def _names(self, lease: str) -> Iterator[str]:
        return (name for name in self.directory.names() if _digest(lease, name))

    def _trim(self) -> None:
        letters = [name for name in self.directory.names() if name.endswith(MESSAGE_SUFFIX)]
        if len(letters) <= DEAD_LIMIT:
            return
        ages = [(found.st_mtime_ns, name) for name in letters if (found := self.directory.stat(name))]
        for _, name in sorted(ages)[:-DEAD_LIMIT]:
            self.remove(name)


def _name(lease: str, message_id: str, file: os.stat_result) -> str:
    # A file's number is used again once it is gone, and its time may be that of another file.
    which = id_digest(f"{file.st_ino}.{file.st_mtime_ns}")
    return f"{lease}.{id_digest(message_id)}.{which}{MESSAGE_SUFFIX}"


def _digest(lease: str, name: str) -> str:
    """Return what stands for the id in a letter's name; empty if it is no letter of this queue."""
    # Not of another one, though "a." begins the letters of "a.b" as well.
    found = _NAME.fullmatch(name) if name.startswith(lease) else None
    return found[2] if found is not None and found[1] == lease else ""


def _unread(name: str) -> str:
    return name.removesuffix(MESSAGE_SUFFIX) + _UNREAD_SUFFIX


def _queued(letter: DeadLetter, entry: str) -> QueuedMessage:
    raw = bytes(letter.message) if letter.message else base64.b64decode(letter.bytes or "")
    return QueuedMessage(
        raw=raw,
        name=letter.name,
        state="dead",
        tries=letter.tries,
        reason=letter.reason,
        stored_at=letter.stored_at,
        store="file",
        entry=entry,
    )
