"""The names of the spool's files: whose queue a file is in, and where it stands."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from botvisor.room import canonical_room
from botvisor.store import Queue
from botvisor.wire import (
    FORWARDED_MARK,
    MESSAGE_SUFFIX,
    admin_prefix,
    encode_id,
    id_digest,
    prespawn_prefix,
    room_prefix,
)

_NAME_BYTES = 255  # NAME_MAX of every filesystem in use
_ID_CHARS = 64
_KINDS = ("admin-", "room-", "pre-spawn-", "ctl-")
_PREFIXED = re.compile(r"((?:admin|room|pre-spawn|ctl)-[^-]+-).*\.json", re.DOTALL)
_CLAIMED = re.compile(r"([1-9][0-9]{0,8})\.([^.]*)\.(.+)", re.DOTALL)


class Place(NamedTuple):
    """Where a queue is in the spool.

    Args:
        prefix: how the names of its waiting files begin.
        lease: what its lease, its claims and its receipts are named by.
    """

    prefix: str
    lease: str


def place_of(queue: Queue, *, lower_path: bool) -> Place:
    """Return where a queue is: a room's is the same for every form of its URL.

    Args:
        queue: the queue.
        lower_path: whether rooms differ in more than the case of their path.
    """
    if queue.kind == "bot":
        return Place(admin_prefix(queue.key), directory_name(queue.key))
    room = canonical_room(queue.key, lower_path=lower_path)
    prefix = room_prefix(room) if queue.kind == "room" else prespawn_prefix(room)
    return Place(prefix, prefix.removesuffix("-"))


def is_alias(queue: Queue, *, lower_path: bool) -> bool:
    """Return whether the queue is named by another form of its room's URL than the canonical one."""
    return queue.kind != "bot" and canonical_room(queue.key, lower_path=lower_path) != queue.key


def prefix_of(name: str) -> str | None:
    """Return how the name of a message's or control's file begins, up to whom it is for.

    Returns:
        The prefix, such as ``admin-4711-``, or None when the name is no message's.
    """
    # Ten times as fast as the pattern, for directories full of other names.
    if not name.startswith(_KINDS):
        return None
    found = _PREFIXED.fullmatch(name)
    return found[1] if found else None


def forwarded_name(name: str) -> str:
    """Return the name that a message's file bears once Redis has the message, too.

    Every reader takes it for one of its own: it begins alike.
    """
    prefix = prefix_of(name) or ""
    return bounded_name(prefix + FORWARDED_MARK, name.removeprefix(prefix))


def is_forwarded(name: str) -> bool:
    """Return whether a message's file bears the name that says that Redis has the message, too."""
    if FORWARDED_MARK not in name:  # of most that settles it
        return False
    prefix = prefix_of(name)
    return prefix is not None and name.startswith(FORWARDED_MARK, len(prefix))


def original_name(name: str) -> str:
    """Return the name that a message's file had before it was forwarded."""
    prefix = prefix_of(name) or ""
    return prefix + name.removeprefix(prefix).removeprefix(FORWARDED_MARK) if is_forwarded(name) else name


def directory_name(bot_id: str) -> str:
    """Return an id as the name of a directory: ``.`` and ``..`` are ids, but they are taken there."""
    name = encode_id(bot_id)
    return name if name.strip(".") else name.replace(".", "%2E", 1)


def new_name(prefix: str, message_id: str, now_ms: int, sequence: int) -> str:
    """Return the name of a new message file: names of one millisecond sort by their sequence number."""
    return bounded_name(f"{prefix}{now_ms:013d}-{sequence:06d}", tail_of(message_id))


def tail_of(message_id: str) -> str:
    """Return how the name of a message file of ours ends, so that it is found by the message's id."""
    known_by = encode_id(message_id)
    return f"-{known_by if len(known_by) <= _ID_CHARS else id_digest(message_id)}{MESSAGE_SUFFIX}"


class ClaimedName(NamedTuple):
    """The name of the file of a message in flight.

    Args:
        tries: how often it was claimed.
        attempt: which reader it was claimed for last; encoded.
        name: its name while it waited.
    """

    tries: int
    attempt: str
    name: str

    def __str__(self) -> str:
        return f"{self.tries}.{self.attempt}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> ClaimedName | None:
        """Return the parts of such a name, or None when it is none."""
        found = _CLAIMED.fullmatch(text)
        return cls(int(found[1]), found[2], found[3]) if found else None

    @property
    def fits(self) -> bool:
        """Whether a file can have this name, also when its tries have grown."""
        return len(os.fsencode(str(self))) + 8 <= _NAME_BYTES and _encodable(self.name)


def encode_attempt(attempt: str) -> str:
    """Return a reader's name as it stands in the name of a claimed file: without a dot."""
    name = encode_id(attempt).replace(".", "%2E")
    return name if len(name) <= _ID_CHARS else id_digest(attempt)


def bounded_name(head: str, tail: str) -> str:
    """Return a file name made of two parts, the second hashed where both are too long for one."""
    full = f"{head}{tail}"
    if len(os.fsencode(full)) <= _NAME_BYTES:
        return full
    return f"{head}-{id_digest(tail)}{MESSAGE_SUFFIX}"


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
