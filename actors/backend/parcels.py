"""Parcels: files of the spool as messages and control objects for Redis."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from botvisor.errors import MalformedMessage
from botvisor.message_forms import parse_object, read_id, read_room
from botvisor.room import canonical_room
from botvisor.store import PushControl, PushMessage, Queue, QueueKind
from botvisor.wire import MAX_MESSAGE_BYTES, decode_id

from .private_file import UnsafeFile
from .spool import Spool
from .spool_names import directory_name, original_name, prefix_of

_BY_ID = re.compile(r"(admin|ctl)-([^-]+)-")


class Parcel(NamedTuple):
    """A file, and what Redis is to be told of it.

    Args:
        name: the file's name.
        command: what Redis is told.
        queues: where on Redis its message may be; none for a control object.
        named: whether the file itself says by which id it is known.
        written_ns: when it was written, in nanoseconds since the epoch.
    """

    name: str
    command: PushMessage | PushControl
    queues: tuple[Queue, ...]
    named: bool
    written_ns: int

    @property
    def known_by(self) -> str:
        """The id."""
        command = self.command
        return command.message_id if isinstance(command, PushMessage) else command.control_id


def read_parcel(spool: Spool, name: str) -> Parcel | None:
    """Return what a file of the spool says.

    Args:
        spool: the spool.
        name: the file's name.

    Returns:
        The parcel; None when the file went away, is not whole, or does not say for whom it is.

    Raises:
        StoreError: when it cannot be read.
    """
    try:
        content = spool.directory.read(name, MAX_MESSAGE_BYTES)
        if content is None or content.too_large:
            return None
        fields = parse_object(content.raw)
    except (UnsafeFile, MalformedMessage):
        return None
    raw, known_by = content.raw, read_id(fields.get("id"))
    named, written_ns = known_by is not None, content.stat.st_mtime_ns
    if known_by is None:
        # On Redis a file's name is lost: from now on it is the message's id.
        known_by = original_name(name)
        raw = msgspec.json.encode({**fields, "id": known_by})
        if len(raw) > MAX_MESSAGE_BYTES:
            return None
    prefix = prefix_of(name) or ""
    if by_id := _BY_ID.fullmatch(prefix):
        bot_id = decode_id(by_id[2])
        if by_id[1] == "ctl":
            return Parcel(name, PushControl(bot_id, known_by, raw), (), named, written_ns)
        queue = Queue("bot", bot_id)
        # Its mark tells later whether this Redis has forgotten it.
        return Parcel(name, PushMessage(queue, known_by, raw, durable=True), (queue,), named, written_ns)
    room = read_room(fields)
    at = _room_queue(spool, prefix, room)
    if at is None:
        return None
    # Its sender may have used another form of the room's URL.
    queues = tuple(dict.fromkeys((at, Queue(at.kind, room))))
    return Parcel(name, PushMessage(at, known_by, raw, durable=True), queues, named, written_ns)


def lock_of(prefix: str) -> str:
    """Return the name of the lock that is held by whoever serves the files whose names begin so."""
    by_id = _BY_ID.fullmatch(prefix)
    return f"{directory_name(decode_id(by_id[2])) if by_id else prefix.removesuffix('-')}.lock"


def _room_queue(spool: Spool, prefix: str, room: str) -> Queue | None:
    # The name has only the room's hash, so the message must name the room.
    kind: QueueKind = "room" if prefix.startswith("room-") else "pre-spawn"
    for lower_path in (False, True):
        queue = Queue(kind, canonical_room(room, lower_path=lower_path))
        if room and spool.prefix(queue) == prefix:
            return queue
    return None
