"""Identities on Redis: a hash for each participant, and an index for each room."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from botvisor.errors import describe
from botvisor.identity import Identity
from botvisor.store import CleanUpIdentities, ListIdentities, ReadIdentity, WriteIdentity
from botvisor.wire import (
    IDENTITY_INDEX_TTL_S,
    IDENTITY_TTL_S,
    identity_channel,
    identity_index_key,
    identity_key,
)

from .redis_bells import Bells
from .redis_notices import Notices
from .redis_replies import check, of_wrong_type, scores_of
from .redis_scripts import Call, Plan, RedisCommand, Script
from .redis_strays import Strays

_WRITE_LATE = Script("identity", b"hash", b"zset")
_TRIM = Script("trim_index", b"zset")

_BELL = identity_channel("")
_LATE_MS = 250  # a write this old has been retried or replayed: somebody may have written since
_LISTED = 10_000
_CHUNK = 500
# What has expired leaves its index now and then, a minute late: `clean_up` counts what is fresher.
_TRIM_EVERY = 64
_TRIM_AGE_MS = 60_000


class RedisIdentities:
    """The identities of all rooms.

    Args:
        strays: finds what older writers left without an index.
        server_ms: the server's time, in milliseconds since the epoch.
        bells: rings when an identity has changed.
        notices: told once of each identity that cannot be read.
    """

    def __init__(self, strays: Strays, server_ms: Callable[[], int], bells: Bells, notices: Notices) -> None:
        self._strays = strays
        self._server_ms = server_ms
        self._bells = bells
        self._notices = notices
        self._latest = (0, "")  # the greatest version that was written without a look at the stored one
        self._writes = 0

    def write(self, command: WriteIdentity) -> Plan:
        """See `WriteIdentity`.

        A write that goes out at once, after all earlier ones of this process, is the latest: it looks at
        nothing. Any other is compared, and lives only as long as it would have if it had come in time.
        """
        identity = command.identity
        participant = identity.participant_id.encode()
        key = identity_key(identity.room_url, identity.participant_id).encode()
        index = identity_index_key(identity.room_url).encode()
        now_ms = self._server_ms()
        age_ms = int(time.time() * 1000) - identity.updated_ms
        step: list[RedisCommand]
        if age_ms <= _LATE_MS and identity.version() >= self._latest:
            self._latest = identity.version()
            step = [
                (b"HSET", key, *_fields(identity)),
                (b"EXPIRE", key, IDENTITY_TTL_S),
                (b"ZADD", index, now_ms + IDENTITY_TTL_S * 1000, participant),
                (b"EXPIRE", index, IDENTITY_INDEX_TTL_S),
            ]
        else:
            lives_ms = IDENTITY_TTL_S * 1000 - (max(0, age_ms) if identity.updated_ms else 0)
            version = (identity.updated_ms, identity.writer.encode())
            arguments = (*version, lives_ms, participant, now_ms + lives_ms, *_fields(identity))
            step = [Call(_WRITE_LATE, (key, index), arguments)]
        self._writes += 1
        if self._writes % _TRIM_EVERY == 0:
            step.append((b"ZREMRANGEBYSCORE", index, b"-inf", now_ms - _TRIM_AGE_MS))
        channel = identity_channel(identity.room_url).encode()
        check((yield from self._bells.ring(_BELL, step, channel, participant)))

    def read(self, command: ReadIdentity) -> Plan:
        """See `ReadIdentity`: None as well when it cannot be read, or is somebody else's."""
        key = identity_key(command.room_url, command.participant_id).encode()
        (reply,) = yield [(b"HGETALL", key)]
        return self._decode(key, reply, command.room_url)

    def list_all(self, command: ListIdentities) -> Plan:
        """See `ListIdentities`: at most 10,000, without those that `read` would not return."""
        room, index = command.room_url, identity_index_key(command.room_url).encode()
        yield from self._strays.find_if_due()
        bounds = (self._server_ms(), b"+inf", b"WITHSCORES", b"LIMIT", 0, _LISTED)
        (reply,) = check((yield [(b"ZRANGEBYSCORE", index, *bounds)]))
        entries = scores_of(reply)
        found: list[Identity] = []
        dangling: list[tuple[bytes, int]] = []
        for start in range(0, len(entries), _CHUNK):
            chunk = entries[start : start + _CHUNK]
            replies = yield [(b"HGETALL", _key(room, member)) for member, _ in chunk]
            for (member, score), fields in zip(chunk, replies, strict=True):
                if not fields:
                    dangling.append((member, score))
                identity = self._decode(_key(room, member), fields, room)
                if identity is not None:
                    found.append(identity)
        if dangling:
            yield [_trim(index, dangling)]
        return sorted(found, key=lambda identity: identity.participant_id)

    def clean_up(self, command: CleanUpIdentities) -> Plan:
        """See `CleanUpIdentities`: what has expired leaves its index; older writers' entries enter it."""
        room, index = command.room_url, identity_index_key(command.room_url).encode()
        yield from self._strays.find_in(room)
        (reply,) = check((yield [(b"ZRANGE", index, 0, -1, b"WITHSCORES")]))
        entries, removed = scores_of(reply), 0
        for start in range(0, len(entries), _CHUNK):
            chunk = entries[start : start + _CHUNK]
            exist = check((yield [(b"EXISTS", _key(room, member)) for member, _ in chunk]))
            over = [entry for entry, there in zip(chunk, exist, strict=True) if not there]
            if over:
                (count,) = check((yield [_trim(index, over)]))
                removed += count
        return removed

    def _decode(self, key: bytes, reply: Any, room_url: str) -> Identity | None:
        if not reply:
            return None
        try:
            if of_wrong_type(reply):
                raise ValueError(str(reply))
            check([reply])
            parts = iter(reply)
            fields: dict[bytes, bytes] = dict(zip(parts, parts, strict=True))
            identity = Identity(
                participant_id=fields[b"participant_id"].decode(),
                room_url=fields[b"room_url"].decode(),
                timestamp=fields[b"timestamp"].decode(),
                data=msgspec.Raw(fields[b"data"]),
                updated_ms=int(fields.get(b"updated_ms", 0)),
                writer=fields.get(b"writer", b"").decode(),
            )
        except (KeyError, ValueError) as error:
            name = key.decode(errors="replace")
            self._notices.once(f"The identity {name} cannot be read: {describe(error)}", name)
            return None
        # A colon in a room or a participant can make two pairs share a key.
        ours = identity.room_url == room_url and _key(room_url, identity.participant_id.encode()) == key
        return identity if ours else None


def _fields(identity: Identity) -> tuple[bytes | int, ...]:
    return (
        *(b"participant_id", identity.participant_id.encode()),
        *(b"room_url", identity.room_url.encode()),
        *(b"timestamp", identity.timestamp.encode()),
        *(b"data", bytes(identity.data)),
        *(b"updated_ms", identity.updated_ms),
        *(b"writer", identity.writer.encode()),
    )


def _trim(index: bytes, entries: Sequence[tuple[bytes, int]]) -> Call:
    return Call(_TRIM, (index,), tuple(part for entry in entries for part in entry))


def _key(room_url: str, participant: bytes) -> bytes:
    return identity_key(room_url, "").encode() + participant
