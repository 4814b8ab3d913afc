"""The spool's way back to Redis: messages of this host for bots that do not run here."""

from __future__ import annotations

import re
import time
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from botvisor import process
from botvisor.errors import MalformedMessage
from botvisor.message_forms import parse_object, read_id, read_room
from botvisor.room import canonical_room
from botvisor.store import PushControl, PushMessage, Queue, QueueKind
from botvisor.wire import ADMIN_TTL_S, CLAIM_DIR, CONTROL_TTL_S, MAX_MESSAGE_BYTES

from .lock import FileLease, unheld
from .private_file import UnsafeFile
from .spool import Spool
from .spool_names import directory_name, prefix_of

# No id of a bot has a dash in a file's name, so this is nobody's lease.
_LEASE = "spool-forward"
_BY_ID = re.compile(r"(admin|ctl)-([^-]+)-")


class Parcel(NamedTuple):
    """A file on its way to Redis: its name, and what Redis is to be told."""

    name: str
    command: PushMessage | PushControl


class SpoolForwarder:
    """Takes files out of the spool whose bot holds no live lock here. Its methods block.

    A file is renamed away, pushed with its id and deleted. One process of a host does so at a time, and the
    next one begins with what the last one left: a crash may repeat a message, under the same id, and loses
    none.

    Args:
        spool: the spool.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._directory = spool.directory
        self._taken = spool.directory.sub(CLAIM_DIR).sub(_LEASE)
        self._lease = FileLease(spool.directory.at(f"{_LEASE}.lock"))
        self._owner = process.own(_LEASE, process.new_instance())
        self._refused: set[str] = set()

    def take(self, limit: int) -> list[Parcel]:
        """Take files out of the spool, oldest first; each must be settled.

        Args:
            limit: at most how many.

        Raises:
            StoreError: when the spool cannot be used.
        """
        if not self._directory.exists():
            return []
        waiting = self._waiting()
        left = self._taken.names()
        if not (waiting or left) or self._lease.acquire(self._owner) is not None:
            return []
        parcels: list[Parcel] = []
        for name in left[:limit]:
            parcel = self._parcel(name, taken=True)
            if parcel is not None:
                parcels.append(parcel)
            else:
                self._taken.move(name, self._directory, name)
        for name in waiting[: limit - len(parcels)]:
            parcel = self._parcel(name, taken=False)
            if parcel is not None and self._directory.move(name, self._taken, name):
                parcels.append(parcel)
        if not parcels:
            self.close()
        return parcels

    def settle(self, stored: list[Parcel], failed: list[Parcel], refused: list[Parcel]) -> None:
        """End what `take` began.

        Args:
            stored: are on Redis.
            failed: are not, or nobody knows: they go back, to be taken again.
            refused: will never be: they go back for good.

        Raises:
            StoreError: when the spool cannot be used; what is left is settled by the next `take`.
        """
        self._refused.update(parcel.name for parcel in refused)
        for parcel in stored:
            self._taken.remove(parcel.name)
        for parcel in (*failed, *refused):
            self._taken.move(parcel.name, self._directory, parcel.name)
        self.close()

    def close(self) -> None:
        """Let another process forward."""
        self._lease.release(self._owner.instance)

    def _waiting(self) -> list[str]:
        """Return the files whose bot is not here, oldest first."""
        here: dict[str, bool] = {}
        found: list[tuple[int, str]] = []
        now, names = time.time(), self._directory.names()
        self._refused.intersection_update(names)
        for name in names:
            prefix = prefix_of(name)
            if prefix is None or name in self._refused:
                continue
            if prefix not in here:
                here[prefix] = not unheld(self._directory.at(f"{_lease_of(prefix)}.lock"))
            facts = self._directory.stat(name) if not here[prefix] else None
            limit_s = CONTROL_TTL_S if prefix.startswith("ctl-") else ADMIN_TTL_S
            if facts is not None and now - facts.st_mtime < limit_s:
                found.append((facts.st_mtime_ns, name))
        return [name for _, name in sorted(found)]

    def _parcel(self, name: str, *, taken: bool) -> Parcel | None:
        """Return what a file says; None when it is not whole, or does not say for whom it is."""
        try:
            content = (self._taken if taken else self._directory).read(name, MAX_MESSAGE_BYTES)
            if content is None or content.too_large:
                return None
            fields = parse_object(content.raw)
        except (UnsafeFile, MalformedMessage):
            return None
        raw, known_by = content.raw, read_id(fields.get("id"))
        if known_by is None:
            # On Redis a file's name is lost: from now on it is the message's id.
            known_by = name
            raw = msgspec.json.encode({**fields, "id": known_by})
        prefix = prefix_of(name) or ""
        if by_id := _BY_ID.fullmatch(prefix):
            bot_id = unquote(by_id[2])
            if by_id[1] == "ctl":
                return Parcel(name, PushControl(bot_id, known_by, raw))
            return Parcel(name, PushMessage(Queue("bot", bot_id), known_by, raw))
        queue = self._room_queue(prefix, read_room(fields))
        return Parcel(name, PushMessage(queue, known_by, raw)) if queue is not None else None

    def _room_queue(self, prefix: str, room: str) -> Queue | None:
        # The name has only the room's hash, so the message must name the room.
        kind: QueueKind = "room" if prefix.startswith("room-") else "pre-spawn"
        for lower_path in (False, True):
            queue = Queue(kind, canonical_room(room, lower_path=lower_path))
            if room and self._spool.prefix(queue) == prefix:
                return queue
        return None


def _lease_of(prefix: str) -> str:
    by_id = _BY_ID.fullmatch(prefix)
    return directory_name(unquote(by_id[2])) if by_id else prefix.removesuffix("-")
