"""Heartbeats on Redis: a hash for each bot, an index of the fleet, and the last words of those that ended."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from botvisor.errors import MalformedMessage
from botvisor.heartbeat import Heartbeat, from_hash, from_json, to_json
from botvisor.liveness import ENDED, age_s
from botvisor.store import ListHeartbeats, ReadHeartbeat, Sweep, WriteHeartbeat
from botvisor.wire import (
    ALIVE_KEY,
    ALIVE_TTL_S,
    EPITAPH_TTL_S,
    HEARTBEAT_TTL_S,
    LAST_TTL_S,
    epitaph_key,
    heartbeat_key,
    last_key,
)

from .kept_beats import KeptBeats
from .packed import Packed, begin, bulk, pack
from .packed_beats import PackedBeats
from .redis_notices import Notices
from .redis_replies import check, hash_of, is_full, of_wrong_type, scores_of, whole
from .redis_scripts import Call, Part, Plan, Quick, RedisCommand, Script, Step, no_result

_BEAT, _ALIVE_AGAIN = Script("beat", b"hash"), Script("alive", b"zset")
_ALIVE = ALIVE_KEY.encode()
_EXPIRE_ALIVE = pack((b"EXPIRE", _ALIVE, ALIVE_TTL_S)).data
_LISTED = 10_000
_CHUNK = 2_000  # heartbeats to a round trip: some megabytes
_LOST = "lost"
_LAST_S = 253_402_300_799  # of the year 9999
_SKEW_S = 10.0  # more than a heartbeat is ever on its way


class RedisHeartbeats:
    """The heartbeats of a fleet.

    Args:
        server_ms: the server's time, in milliseconds since the epoch.
        notices: told once of each heartbeat that cannot be read.
    """

    def __init__(self, server_ms: Callable[[], int], notices: Notices) -> None:
        self._server_ms = server_ms
        self._notices = notices
        self._kept = KeptBeats()
        self._packed = PackedBeats()
        self.quick_write = Quick(self._quick_step, no_result)

    def write(self, command: WriteHeartbeat) -> Plan:
        """See `WriteHeartbeat`. A stopped bot's goes to where its last words outlive it, too."""
        stopped = _is_stopped(command)
        step = self._write_step(command, lives=not stopped)
        if stopped:
            epitaph = _encode_epitaph(command.fields, self._server_ms())
            step.append((b"SET", epitaph_key(command.bot_id).encode(), epitaph, b"EX", EPITAPH_TTL_S))
        keeps = not stopped and self._kept.is_due(command)
        if keeps:
            last = to_json(command.fields)
            step.append((b"SET", last_key(command.bot_id).encode(), last, b"EX", LAST_TTL_S))
        replies = yield step
        if is_full(replies):
            # Or else a fleet that lives would look lost. The caller hears of it all the same.
            (_, key, *fields), _, (_, _, *entry), _ = step[:4]
            yield [Call(_BEAT, (key,), tuple(fields))]
            yield [Call(_ALIVE_AGAIN, (_ALIVE,), tuple(entry))]
        check(replies)
        if keeps:
            self._kept.note(command)

    def _quick_step(self, command: WriteHeartbeat) -> Packed | None:
        if _is_stopped(command) or self._kept.is_due(command):
            return None
        keys = _keys_of(command.bot_id)
        hset = self._packed.hset(command.bot_id, command.fields)
        expires_ms = b"%d" % (self._server_ms() + HEARTBEAT_TTL_S * 1000)
        data = b"".join((hset, keys.expire_and_zadd, bulk(expires_ms), keys.member))
        return Packed(3, data, _EXPIRE_ALIVE)

    def _write_step(self, command: WriteHeartbeat, *, lives: bool) -> list[Any]:
        key, member = heartbeat_key(command.bot_id).encode(), command.bot_id.encode()
        expires_ms = self._server_ms() + (HEARTBEAT_TTL_S * 1000 if lives else 0)
        return [
            (b"HSET", key, *_fields(command)),
            (b"EXPIRE", key, HEARTBEAT_TTL_S),
            (b"ZADD", _ALIVE, expires_ms, member),
            (b"EXPIRE", _ALIVE, ALIVE_TTL_S),
        ]

    def read(self, command: ReadHeartbeat) -> Plan:
        """See `ReadHeartbeat`: the last words of a bot that stopped, what is left of one that was lost."""
        bot_id = command.bot_id
        fields, words, last, score = yield [
            (b"HGETALL", heartbeat_key(bot_id).encode()),
            (b"GET", epitaph_key(bot_id).encode()),
            (b"GET", last_key(bot_id).encode()),
            (b"ZSCORE", _ALIVE, bot_id.encode()),
        ]
        check([score])
        found = self._find(bot_id, fields, words, last, None if score is None else whole(score))
        return None if command.living and found is not None and found.status in ENDED else found

    def list_all(self, _: ListHeartbeats) -> Plan:
        """See `ListHeartbeats`: the living first, at most 10,000; each 2,000 cost one round trip."""
        (reply,) = check((yield [(b"ZREVRANGE", _ALIVE, 0, _LISTED - 1, b"WITHSCORES")]))
        entries = scores_of(reply)
        found: list[Heartbeat] = []
        for start in range(0, len(entries), _CHUNK):
            found += yield from self._read_all(entries[start : start + _CHUNK])
        return found

    def sweep(self, _: Sweep) -> Plan:
        """See `Sweep`: everything else expires by itself."""
        over_ms = self._server_ms() - ALIVE_TTL_S * 1000
        (removed,) = check((yield [(b"ZREMRANGEBYSCORE", _ALIVE, b"-inf", over_ms)]))
        return removed

    def _read_all(self, entries: list[tuple[bytes, int]]) -> Generator[Step, list[Any], list[Heartbeat]]:
        now_ms = self._server_ms()
        step: list[RedisCommand] = []
        for member, expires_ms in entries:
            bot_id = member.decode(errors="replace")
            step.append((b"HGETALL", heartbeat_key(bot_id).encode()))
            if expires_ms <= now_ms:
                step.append((b"GET", epitaph_key(bot_id).encode()))
                step.append((b"GET", last_key(bot_id).encode()))
        replies = iter((yield step))
        found = []
        for member, expires_ms in entries:
            bot_id = member.decode(errors="replace")
            fields, ended = next(replies), expires_ms <= now_ms
            words, last = (next(replies), next(replies)) if ended else (None, None)
            heartbeat = self._find(bot_id, fields, words, last, expires_ms)
            if heartbeat is not None:
                found.append(heartbeat)
        return found

    def _find(
        self, bot_id: str, fields: Any, words: Any, last: Any, expires_ms: int | None
    ) -> Heartbeat | None:
        """Return a bot's last heartbeat from the replies, whichever holds it."""
        try:
            for reply in (fields, words, last):
                if of_wrong_type(reply):
                    raise MalformedMessage(str(reply))
            check((fields, words, last))
            if fields:
                heartbeat = from_hash(hash_of(fields))
                self._notices.settled(bot_id)
                if not heartbeat.bot_id:  # older writers leave it to the key
                    heartbeat = msgspec.structs.replace(heartbeat, bot_id=bot_id)
                return heartbeat if expires_ms is None else self._dated(heartbeat, expires_ms)
            if words is not None:
                heartbeat, ended_ms = _decode_epitaph(words)
                # A later run of the same bot, which left none, has moved the index on.
                if expires_ms is None or expires_ms <= ended_ms:
                    return heartbeat
        except MalformedMessage as error:
            self._notices.once(f"The heartbeat of bot {bot_id} cannot be read: {error.reason}", bot_id)
            return None
        return None if expires_ms is None else self._lost(bot_id, last, expires_ms)

    def _dated(self, heartbeat: Heartbeat, expires_ms: int) -> Heartbeat:
        """Return a heartbeat by our clock, if its writer's clock differs: the server saw when it came."""
        left_s = (expires_ms - self._server_ms()) / 1000
        heard_s = HEARTBEAT_TTL_S - left_s
        # A bot that stopped has none left, and one of an older program that has its id now none of its own.
        if left_s <= 0 or abs(age_s(heartbeat) - heard_s) <= _SKEW_S:
            return heartbeat
        return msgspec.structs.replace(heartbeat, timestamp=_ago(heard_s))

    def _lost(self, bot_id: str, last: bytes | None, expires_ms: int) -> Heartbeat:
        """Return what is left of a bot that was killed; of an older program's only its name and last beat."""
        seen_at = _ago((self._server_ms() - expires_ms) / 1000 + HEARTBEAT_TTL_S)
        if last is not None:
            with contextlib.suppress(MalformedMessage):
                kept = from_json(last)
                return msgspec.structs.replace(kept, timestamp=seen_at, status=_LOST)
        return Heartbeat(
            pid=int(bot_id) if bot_id.isdecimal() else 0,
            room_url="",
            participants=(),
            timestamp=seen_at,
            bot_id=bot_id,
            status=_LOST,
        )


class _Keys(NamedTuple):
    """What follows the HSET of each heartbeat of a bot, packed."""

    expire_and_zadd: bytes
    member: bytes


@functools.lru_cache(maxsize=10_000)
def _keys_of(bot_id: str) -> _Keys:
    key = heartbeat_key(bot_id).encode()
    expire = pack((b"EXPIRE", key, HEARTBEAT_TTL_S)).data
    return _Keys(expire + begin(b"ZADD", _ALIVE, more=2), bulk(bot_id.encode()))


def _fields(command: WriteHeartbeat) -> Iterator[Part]:
    """Return a heartbeat's fields, with one in place of the epitaph of an earlier run."""
    fields = command.fields
    none: tuple[Part, ...] = () if "epitaph" in fields else ("epitaph", b"null")
    return chain(chain.from_iterable(fields.items()), none)


def _ago(seconds: float) -> str:
    # Scores come from anybody: what no calendar has is at its end.
    at = min(max(time.time() - seconds, 0.0), _LAST_S)
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _is_stopped(command: WriteHeartbeat) -> bool:
    return command.fields.get("status") == b"stopped"


def _encode_epitaph(fields: dict[str, bytes], ended_ms: int) -> bytes:
    heartbeat = msgspec.json.decode(to_json(fields), type=dict[str, Any])
    words = heartbeat.pop("epitaph", None) or {}
    return msgspec.json.encode({**words, **heartbeat, "ended_ms": ended_ms})


def _decode_epitaph(raw: bytes) -> tuple[Heartbeat, int]:
    try:
        record = msgspec.json.decode(raw, type=dict[str, Any])
        ended_ms = int(record.pop("ended_ms", 0))
        own = {name: record.pop(name) for name in Heartbeat.__struct_fields__ if name in record}
        return msgspec.convert({**own, "epitaph": record}, Heartbeat), ended_ms
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise MalformedMessage(f"epitaph: {error}") from error
