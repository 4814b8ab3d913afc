"""Identities as files: a directory for each room, a file for each participant, both named by hashes.

The raw names are inside, and compared on reading: whatever a room or a participant is called, nobody is given
another's identity.
"""

# ruff: noqa: PTH106

from __future__ import annotations

import contextlib
import os

import msgspec

from botvisor.errors import StoreUnavailable
from botvisor.identity import Identity
from botvisor.store import CleanUpIdentities, ListIdentities, ReadIdentity, WriteIdentity
from botvisor.wire import IDENTITY_TTL_S, MAX_MESSAGE_BYTES, identity_path

from .directory import Directory
from .lock import exclusive
from .private_file import FileContent, UnsafeFile
from .steady_clock import SteadyClock

_WAIT_S = 0.25
_ATTEMPTS = 3


class IdentityFiles:
    """The identities of a host.

    Args:
        directory: where they are.
        clock: tells which are too old.
    """

    def __init__(self, directory: Directory, clock: SteadyClock) -> None:
        self.directory = directory
        self._clock = clock

    def write(self, command: WriteIdentity) -> None:
        """See `WriteIdentity`.

        Raises:
            StoreUnavailable: when it cannot be written.
        """
        identity = command.identity
        room, name = self._find(identity.room_url, identity.participant_id)
        self.directory.ready()
        for _ in range(_ATTEMPTS):
            room.ready()
            # Of two writers that both looked before they wrote, the earlier could come last. A directory
            # that is cleaned up between two steps of ours is made again.
            with contextlib.suppress(FileNotFoundError), exclusive(room.path, _WAIT_S):
                stored = _decode(room.read(name, MAX_MESSAGE_BYTES))
                if stored is None or _written(stored) <= _written(identity):
                    room.write(name, msgspec.json.encode(identity))
                return
        raise StoreUnavailable(f"{room}: is deleted again and again")

    def read(self, command: ReadIdentity) -> Identity | None:
        """See `ReadIdentity`: None as well when it has expired, is damaged or is somebody else's."""
        room, name = self._find(command.room_url, command.participant_id)
        identity = self._read(room, name) if self.directory.exists() else None
        asked = (command.room_url, command.participant_id)
        return identity if identity and (identity.room_url, identity.participant_id) == asked else None

    def list(self, command: ListIdentities) -> list[Identity]:
        """See `ListIdentities`: without those that `read` would not return."""
        if not self.directory.exists():
            return []
        room, _ = self._find(command.room_url, "")
        found = (self._read(room, name) for name in room.names())
        ours = [identity for identity in found if identity and identity.room_url == command.room_url]
        return sorted(ours, key=lambda identity: identity.participant_id)

    def clean_up(self, command: CleanUpIdentities) -> int:
        """See `CleanUpIdentities`."""
        if not self.directory.exists():
            return 0
        room, _ = self._find(command.room_url, "")
        removed = sum(room.remove(name) for name in room.names() if self._is_over(room, name))
        remove_empty(room)
        return removed

    def _find(self, room_url: str, participant_id: str) -> tuple[Directory, str]:
        room, _, name = identity_path(room_url, participant_id).partition("/")
        return self.directory.sub(room), name

    def _read(self, room: Directory, name: str) -> Identity | None:
        try:
            content = room.read(name, MAX_MESSAGE_BYTES)
        except UnsafeFile:
            return None
        identity = _decode(content)
        return None if content is None or self._is_old(identity, content) else identity

    def _is_over(self, room: Directory, name: str) -> bool:
        """Return whether an identity has expired; a damaged one does by its file's age."""
        try:
            content = room.read(name, MAX_MESSAGE_BYTES)
        except UnsafeFile:
            return False
        return content is not None and self._is_old(_decode(content), content)

    def _is_old(self, identity: Identity | None, content: FileContent) -> bool:
        updated_ms = identity.updated_ms if identity else 0
        return (updated_ms / 1000 or content.stat.st_mtime) < self._clock.oldest_s(IDENTITY_TTL_S)


def remove_empty(room: Directory) -> bool:
    """Delete a room's directory if nothing is in it and nobody is writing there. Returns whether it did."""
    with contextlib.suppress(OSError, StoreUnavailable), exclusive(room.path, 0):
        os.rmdir(room.path)
        return True
    return False


def _decode(content: FileContent | None) -> Identity | None:
    if content is None or content.too_large:
        return None
    try:
        return msgspec.json.decode(content.raw, type=Identity)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _written(identity: Identity) -> tuple[int, str]:
    return identity.updated_ms, identity.writer
