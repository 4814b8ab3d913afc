"""Identities on Redis: a hash for each participant, and an index for each room."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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

from .packed import Packed, begin, bulk, pack
from .redis_bells import Bells
from .redis_errors import ErrorReply
from .redis_notices import Notices
from .redis_replies import check, of_wrong_type, scores_of
from .redis_scripts import Call, Plan, Quick, RedisCommand, Script, no_result
from .redis_strays import Strays

_WRITE_LATE = Script("identity", b"hash")
_TRIM = Script("trim_index", b"zset")

_DATA, _UPDATED_MS, _WRITER = map(bulk, (b"data", b"updated_ms", b"writer"))
_BELL = identity_channel("")
_LATE_MS = 250  # a write this old has been retried or replayed: somebody may have written since
_LISTED = 10_000
_CHUNK = 500
# What has expired leaves its index now and then, a minute late: `clean_up` counts what is fresher.
_TRIM_EVERY = 64
_TRIM_AGE_MS = 60_000


class _Keys(NamedTuple):
    """The names of one identity, encoded; and what two writes of it have in common, packed."""

    room: bytes
    participant: bytes
    identity: bytes
    room_index: bytes
    channel: bytes
    read: Packed
    hset: bytes
    expire_and_zadd: bytes
    member_and_publish: bytes
    expire_index: bytes


@functools.lru_cache(maxsize=10_000)
def _keys_of(room_url: str, participant_id: str) -> _Keys:
    room, participant = room_url.encode(), participant_id.encode()
    key = identity_key(room_url, participant_id).encode()
    index, channel = identity_index_key(room_url).encode(), identity_channel(room_url).encode()
    names = (b"participant_id", participant, b"room_url", room, b"timestamp")
    return _Keys(
        *(room, participant, key, index, channel),
        read=pack((b"HGETALL", key)),
        hset=begin(b"HSET", key, *names, more=7),
        expire_and_zadd=pack((b"EXPIRE", key, IDENTITY_TTL_S)).data + begin(b"ZADD", index, more=2),
        member_and_publish=bulk(participant) + pack((b"PUBLISH", channel, participant)).data,
        expire_index=pack((b"EXPIRE", index, IDENTITY_INDEX_TTL_S)).data,
    )


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
        self.quick_write = Quick(self._quick_step, no_result)
        self.quick_read = Quick(self._read_step, self._read)

    def write(self, command: WriteIdentity) -> Plan:
        """See `WriteIdentity`.

        A write that goes out at once, after all earlier ones of this process, is the latest: it looks at
        nothing. Any other is compared, and lives only as long as it would have if it had come in time.
        """
        identity = command.identity
        keys = _keys_of(identity.room_url, identity.participant_id)
        now_ms, lives_ms = self._server_ms(), IDENTITY_TTL_S * 1000
        step: list[RedisCommand] = []
        if self._is_latest(identity):
            step += [
                (b"HSET", keys.identity, *_fields(identity, keys)),
                (b"EXPIRE", keys.identity, IDENTITY_TTL_S),
            ]
        else:
            lives_ms -= max(0, _age_ms(identity)) if identity.updated_ms else 0
            arguments = (identity.updated_ms, identity.writer.encode(), lives_ms, *_fields(identity, keys))
            (written,) = check((yield [Call(_WRITE_LATE, (keys.identity,), arguments)]))
            if not written:
                return
        step += [
            (b"ZADD", keys.room_index, now_ms + lives_ms, keys.participant),
            (b"EXPIRE", keys.room_index, IDENTITY_INDEX_TTL_S),
        ]
        self._writes += 1
        if self._writes % _TRIM_EVERY == 0:
            step.append((b"ZREMRANGEBYSCORE", keys.room_index, b"-inf", now_ms - _TRIM_AGE_MS))
        check((yield from self._bells.ring(_BELL, step, keys.channel, keys.participant)))

    def read(self, command: ReadIdentity) -> Plan:
        """See `ReadIdentity`: None as well when it cannot be read, or is somebody else's."""
        key = _keys_of(command.room_url, command.participant_id).identity
        return self._read(command, (yield [(b"HGETALL", key)]))

    def _quick_step(self, command: WriteIdentity) -> Packed | None:
        identity = command.identity
        trims = (self._writes + 1) % _TRIM_EVERY == 0
        if trims or not self._bells.allowed(_BELL) or not self._is_latest(identity):
            return None
        self._writes += 1
        keys = _keys_of(identity.room_url, identity.participant_id)
        parts = (
            keys.hset,
            bulk(identity.timestamp.encode()),
            _DATA,
            bulk(bytes(identity.data)),
            _UPDATED_MS,
            bulk(b"%d" % identity.updated_ms),
            _WRITER,
            bulk(identity.writer.encode()),
            keys.expire_and_zadd,
            bulk(b"%d" % (self._server_ms() + IDENTITY_TTL_S * 1000)),
            keys.member_and_publish,
        )
        return Packed(4, b"".join(parts), keys.expire_index)

    def _is_latest(self, identity: Identity) -> bool:
        """Return whether a write is the latest for certain; later ones are measured by it then."""
        version = identity.version()
        if version < self._latest or _age_ms(identity) > _LATE_MS:
            return False
        self._latest = version
        return True

    def _read_step(self, command: ReadIdentity) -> Packed:
        return _keys_of(command.room_url, command.participant_id).read

    def _read(self, command: ReadIdentity, replies: list[Any]) -> Identity | None:
        return self._decode(command.room_url, command.participant_id.encode(), replies[0])

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
                identity = self._decode(room, member, fields)
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

    def _decode(self, room_url: str, participant: bytes, reply: Any) -> Identity | None:
        if not reply:
            return None
        try:
            if isinstance(reply, ErrorReply):
                raise ValueError(str(reply)) if of_wrong_type(reply) else reply
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
            name = _key(room_url, participant).decode(errors="replace")
            self._notices.once(f"The identity {name} cannot be read: {describe(error)}", name)
            return None
        # A colon in a room or a participant can make two pairs share a key.
        ours = identity.room_url == room_url and fields[b"participant_id"] == participant
        return identity if ours else None


def _fields(identity: Identity, keys: _Keys) -> tuple[bytes | int, ...]:
    return (
        *(b"participant_id", keys.participant),
        *(b"room_url", keys.room),
        *(b"timestamp", identity.timestamp.encode()),
        *(b"data", bytes(identity.data)),
        *(b"updated_ms", identity.updated_ms),
        *(b"writer", identity.writer.encode()),
    )


def _age_ms(identity: Identity) -> int:
    return int(time.time() * 1000) - identity.updated_ms


def _trim(index: bytes, entries: Sequence[tuple[bytes, int]]) -> Call:
    return Call(_TRIM, (index,), tuple(part for entry in entries for part in entry))


def _key(room_url: str, participant: bytes) -> bytes:
    return identity_key(room_url, "").encode() + participant
