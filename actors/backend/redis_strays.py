"""Strays: identities that older programs write without an index, and now and then without a lifetime."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from typing import Any

from botvisor.wire import (
    IDENTITY_INDEX_TTL_S,
    IDENTITY_SCAN_KEY,
    IDENTITY_SCAN_TTL_S,
    IDENTITY_TTL_S,
    identity_index_key,
    identity_key,
)

from .redis_notices import Notices
from .redis_replies import check
from .redis_scripts import RedisCommand, Step

_ROOMS, _INDEXES = identity_key("", "")[:-1].encode(), identity_index_key("").encode()
_SCANNED_AT_ONCE = 5_000  # keys that one SCAN looks at: a few milliseconds of the server's time
_CHUNK = 500
# Every other command of the process waits as long.
_FLEET_LIMIT_S = 0.5
_ROOM_LIMIT_S = 1.0
_SPECIAL = re.compile(rb"([*?\[\]\\^-])")


class Strays:
    """Finds strays and indexes them.

    Args:
        instance: names this process in the fleet.
        server_ms: the server's time, in milliseconds since the epoch.
        notices: told once when the server does not allow it.
    """

    def __init__(self, instance: str, server_ms: Callable[[], int], notices: Notices) -> None:
        self._instance = instance.encode()
        self._server_ms = server_ms
        self._notices = notices
        self._due_at = 0.0
        self._cursor = 0

    def find_if_due(self) -> Generator[Step, list[Any], None]:
        """Find those of all rooms, unless somebody in the fleet has done so within a minute.

        A keyspace that takes longer than half a second is gone through in several turns.
        """
        now = time.monotonic()
        if now < self._due_at:
            return
        self._due_at = now + IDENTITY_SCAN_TTL_S
        key = IDENTITY_SCAN_KEY.encode()
        (won,) = yield [(b"SET", key, self._instance, b"NX", b"EX", IDENTITY_SCAN_TTL_S)]
        if won == b"OK":
            self._cursor = yield from self._find(_ROOMS + b"*", self._cursor, now + _FLEET_LIMIT_S)

    def find_in(self, room_url: str) -> Generator[Step, list[Any], None]:
        """Find those of one room, within a second."""
        prefix = identity_key(room_url, "").encode()
        yield from self._find(_SPECIAL.sub(rb"\\\1", prefix) + b"*", 0, time.monotonic() + _ROOM_LIMIT_S)

    def _find(self, pattern: bytes, cursor: int, until: float) -> Generator[Step, list[Any], int]:
        """Return where to go on the next time: 0, the beginning, if it came to the end."""
        while True:
            (reply,) = yield [(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCANNED_AT_ONCE)]
            if isinstance(reply, Exception):
                self._notices.once(f"Identities without an index cannot be looked for: {reply}", "SCAN")
                return 0
            cursor, keys = int(reply[0]), reply[1]
            for start in range(0, len(keys), _CHUNK):
                yield from self._index(keys[start : start + _CHUNK])
            if cursor == 0 or time.monotonic() > until:
                return cursor

    def _index(self, keys: list[bytes]) -> Generator[Step, list[Any], None]:
        look: list[RedisCommand] = []
        for key in keys:
            look += [(b"HMGET", key, b"room_url", b"participant_id"), (b"PTTL", key)]
        replies = iter((yield look))
        write: list[RedisCommand] = []
        for key, names, lives_ms in zip(keys, replies, replies, strict=True):
            # Where a room ends and a participant begins, the key does not tell: either may hold a colon.
            if isinstance(names, Exception) or None in names or _ROOMS + b":".join(names) != key:
                continue
            if lives_ms == -1:
                lives_ms = IDENTITY_TTL_S * 1000
                write.append((b"EXPIRE", key, IDENTITY_TTL_S))
            if isinstance(lives_ms, int) and lives_ms > 0:
                room, participant = names
                write += [
                    (b"ZADD", _INDEXES + room, self._server_ms() + lives_ms, participant),
                    (b"EXPIRE", _INDEXES + room, IDENTITY_INDEX_TTL_S),
                ]
        if write:
            check((yield write))
