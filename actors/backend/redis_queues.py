"""Queues of admin messages on Redis. What must be one step is a script; see `scripts/next.lua`."""

from __future__ import annotations

import functools
import time
from collections.abc import Generator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from botvisor import process, wire
from botvisor.errors import LeaseLost, MalformedMessage, StoreError
from botvisor.message_forms import parse_object, read_id, read_timestamp
from botvisor.process import Owner
from botvisor.store import (
    AcquireLease,
    Broadcast,
    BuryMessage,
    Claim,
    NextMessage,
    PushMessage,
    Queue,
    ReleaseLease,
    ReturnMessage,
)

from .packed import Packed, begin, bulk, pack
from .redis_bells import Bells
from .redis_notices import Notices
from .redis_replies import check, hash_of
from .redis_scripts import Call, Plan, Quick, RedisCommand, Script, Step

_NEXT = Script("next", b"list", b"hash", b"zset", b"list", b"hash")
_GIVE_BACK = Script("give_back", b"list", b"hash", b"hash")
_BURY = Script("bury", b"hash", b"list", b"hash")
_LEASE = Script("lease", b"hash", b"hash")
_RELEASE = Script("release", b"hash")

_SOURCE = "redis"
_BELL = wire.admin_channel("")
# A queue that holds nothing but what must be put away is looked at again at the next bell.
_LOOKS = 200


class QueueKeys(NamedTuple):
    """The keys of one queue; and what two messages to it have in common, packed."""

    queue: bytes
    proc: bytes
    done: bytes
    dead: bytes
    owner: bytes
    channel: bytes
    push: bytes
    expire_and_publish: bytes


@functools.lru_cache(maxsize=10_000)
def keys_of(queue: Queue) -> QueueKeys:
    """Return the keys of a queue.

    The raw and the canonical form of a room's URL are two queues here, as older writers use either.

    Raises:
        UnicodeEncodeError: when its name holds a lone surrogate.
    """
    pre_spawn = queue.kind == "pre-spawn"
    name = wire.prespawn_queue(queue.key) if pre_spawn else wire.admin_queue(queue.key)
    channel = wire.admin_channel(name.removeprefix(wire.admin_queue("")))
    own = wire.proc_key, wire.done_key, wire.dead_key, wire.owner_key
    key, proc, done, dead, owner = (each.encode() for each in (name, *(key_of(name) for key_of in own)))
    bell, expire = channel.encode(), pack((b"EXPIRE", key, wire.ADMIN_TTL_S)).data
    rest = expire + begin(b"PUBLISH", bell, more=1)
    return QueueKeys(key, proc, done, dead, owner, bell, begin(b"RPUSH", key, more=1), rest)


class RedisQueues:
    """All queues of admin messages.

    Args:
        bells: rings when a message is there.
        notices: told of each message that cannot be read.
    """

    def __init__(self, bells: Bells, notices: Notices) -> None:
        self._bells = bells
        self._notices = notices
        self.quick_push = Quick(self._quick_step, _is_stored)

    def push(self, command: PushMessage) -> Plan:
        """See `PushMessage`: the message itself is what rings, as older bots expect."""
        size = len(command.raw)
        if size > wire.MAX_MESSAGE_BYTES:
            raise StoreError(f"the message has {size} bytes, more than {wire.MAX_MESSAGE_BYTES}")
        keys = keys_of(command.queue)
        step: list[RedisCommand] = [
            (b"RPUSH", keys.queue, command.raw),
            (b"EXPIRE", keys.queue, wire.ADMIN_TTL_S),
        ]
        if command.durable:
            kept = wire.kept_key(keys.queue.decode(), command.message_id).encode()
            step.append((b"SET", kept, b"", b"EX", wire.KEPT_TTL_S))
        check((yield from self._bells.ring(_BELL, step, keys.channel, command.raw)))
        return _SOURCE

    def _quick_step(self, command: PushMessage) -> Packed | None:
        raw = command.raw
        if command.durable or len(raw) > wire.MAX_MESSAGE_BYTES or not self._bells.allowed(_BELL):
            return None
        keys, word = keys_of(command.queue), bulk(raw)
        return Packed(3, b"".join((keys.push, word, keys.expire_and_publish, word)))

    def broadcast(self, command: Broadcast) -> Plan:
        """See `Broadcast`."""
        (reply,) = check((yield [(b"PUBLISH", wire.BROADCAST_CHANNEL.encode(), command.raw)]))
        return reply

    def acquire(self, command: AcquireLease) -> Plan:
        """See `AcquireLease`: a holder whose process has ended on this machine holds nothing any more."""
        keys, gone = keys_of(command.queue), b""
        fields: list[bytes] = []
        for name, value in msgspec.structs.asdict(command.owner).items():
            fields += (name.encode(), str(value).encode())
        mine = command.owner.instance.encode()
        holder: Owner | None = None
        for _ in range(2):
            call = Call(_LEASE, (keys.owner, keys.proc), (mine, gone, *fields))
            (reply,) = check((yield [call]))
            holder = _owner(reply) if reply else None
            if holder is None or not process.gone(holder):
                break
            gone = holder.instance.encode()
        return holder

    def release(self, command: ReleaseLease) -> Plan:
        """See `ReleaseLease`."""
        check((yield [Call(_RELEASE, (keys_of(command.queue).owner,), (command.instance.encode(),))]))

    def next(self, command: NextMessage) -> Plan:
        """See `NextMessage`: what is no JSON object is put away, and the one behind it claimed."""
        keys, done = keys_of(command.queue), command.done
        token, message_id = (done.token, done.message_id) if done is not None else ("", "")
        texts = (command.instance, command.attempt, token, message_id, "1" if command.take else "0")
        call = Call(_NEXT, keys[:5], tuple(text.encode() for text in texts))
        for _ in range(_LOOKS):
            (reply,) = check((yield [call]))
            if reply[0] == b"lost":
                raise LeaseLost(str(command.queue))
            if reply[0] == b"none":
                return None
            if reply[0] == b"claim":
                _, claimed, raw, tries, handled = reply
                name = claimed.decode(errors="replace")
                try:
                    fields = parse_object(raw)
                except MalformedMessage as error:
                    self._notices.warn(f"Quarantined {name} of {command.queue}: {error.reason}")
                    yield from self.bury(
                        BuryMessage(command.queue, command.instance, name, error.reason, malformed=True)
                    )
                    continue
                return Claim(
                    token=name,
                    raw=raw,
                    name=name,
                    tries=tries,
                    source=_SOURCE,
                    stored_at=sent_at(fields, claimed_at(name)),
                    done=handled == b"1" or (handled == b"?" and (yield from _was_handled(keys, fields))),
                )
        return None

    def put_back(self, command: ReturnMessage) -> Plan:
        """See `ReturnMessage`."""
        keys = keys_of(command.queue)
        arguments = (command.instance.encode(), command.token.encode())
        yield from _consume(command.queue, Call(_GIVE_BACK, (keys.queue, keys.proc, keys.owner), arguments))

    def bury(self, command: BuryMessage) -> Plan:
        """See `BuryMessage`: what is malformed is kept among the dead letters, and is none."""
        keys = keys_of(command.queue)
        texts = (command.instance, command.token, command.reason, "1" if command.malformed else "0")
        arguments = tuple(text.encode() for text in texts)
        yield from _consume(command.queue, Call(_BURY, (keys.proc, keys.dead, keys.owner), arguments))


def _is_stored(_: PushMessage, _replies: list[Any]) -> str:
    return _SOURCE


def _consume(queue: Queue, call: Call) -> Generator[Step, list[Any], None]:
    (reply,) = check((yield [call]))
    if reply == b"lost":
        raise LeaseLost(str(queue))


def _was_handled(keys: QueueKeys, fields: dict[str, Any]) -> Generator[Step, list[Any], bool]:
    """Return whether a message was handled whose id the script would rather not read."""
    message_id = read_id(fields.get("id"))
    if message_id is None:
        return False
    (score,) = check((yield [(b"ZSCORE", keys.done, message_id.encode())]))
    return score is not None


def _owner(reply: list[bytes]) -> Owner:
    """Return the holder of a lease; what its record lacks is empty."""
    record = {name: value.decode(errors="replace") for name, value in hash_of(reply).items()}
    defaults = {"bot_id": "", "host": "", "boot_id": "", "pid_ns": "", "pid": "0", "start_ticks": "0"}
    try:
        return msgspec.convert({**defaults, **record}, Owner, strict=False)
    except msgspec.ValidationError:
        return msgspec.convert({**defaults, "instance": record["instance"]}, Owner, strict=False)


def sent_at(fields: dict[str, Any], latest: float) -> float:
    """Return when a message was sent, in seconds since the epoch; `latest` when it does not say, or lies."""
    stamp = fields.get("timestamp")
    if stamp is None:
        return latest
    return min(datetime.fromisoformat(read_timestamp(stamp, latest)).timestamp(), latest)


def claimed_at(token: str) -> float:
    """Return when a message was claimed, in seconds since the epoch: its token tells."""
    try:
        return float(token.partition("-")[0])
    except ValueError:
        return time.time()
