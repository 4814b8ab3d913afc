"""What can be seen of a queue on Redis without taking anything: for senders, successors and operators."""

from __future__ import annotations

from typing import Any

import msgspec

from botvisor import wire
from botvisor.errors import MalformedMessage
from botvisor.message_forms import parse_object, read_id
from botvisor.store import (
    IsKept,
    IsServed,
    ListMessages,
    Past,
    QueuedMessage,
    ReadPast,
    ReadReceipt,
)

from .redis_queues import claimed_at, keys_of, sent_at
from .redis_replies import check
from .redis_scripts import Call, Plan, RedisCommand, Script

_RECEIPT = Script("receipt", b"list", b"hash", b"zset", b"list")
_MESSAGES = Script("messages", b"list", b"hash", b"list")
_PAST = Script("past", b"hash", b"zset", b"list")


class _Letter(msgspec.Struct):
    reason: str = ""
    name: str = ""
    tries: int = 0
    malformed: bool = False


class RedisQueueViews:
    """The views of all queues."""

    def receipt(self, command: ReadReceipt) -> Plan:
        """See `ReadReceipt`: of a long queue only the newest thousand are looked at."""
        (reply,) = check((yield [Call(_RECEIPT, keys_of(command.queue)[:4], (command.message_id.encode(),))]))
        return reply.decode()

    def messages(self, command: ListMessages) -> Plan:
        """See `ListMessages`: at most a thousand of each state, and 16 MiB."""
        keys = keys_of(command.queue)
        (reply,) = check((yield [Call(_MESSAGES, (keys.queue, keys.proc, keys.dead))]))
        return [_queued(*entry) for entry in reply]

    def past(self, command: ReadPast) -> Plan:
        """See `ReadPast`: of the dead letters the newest hundred."""
        keys = keys_of(command.queue)
        (reply,) = check((yield [Call(_PAST, (keys.proc, keys.done, keys.dead))]))
        handled, dead, in_flight = reply
        foreign = bool(in_flight) and not in_flight[2].startswith(command.instance.encode())
        return Past(
            handled=frozenset(map(_digest, handled)),
            dead=frozenset(map(_digest, dead)),
            in_flight=wire.id_digest(_id_of(*in_flight[:2])) if foreign else "",
        )

    def is_kept(self, command: IsKept) -> Plan:
        """See `IsKept`."""
        kept = wire.kept_key(keys_of(command.queue).queue.decode(), command.message_id).encode()
        (reply,) = check((yield [(b"EXISTS", kept)]))
        return bool(reply)

    def is_served(self, command: IsServed) -> Plan:
        """See `IsServed`: older bots have a heartbeat and no lease."""
        queue = command.queue
        step: list[RedisCommand] = [(b"EXISTS", keys_of(queue).owner)]
        if queue.kind == "bot":
            heartbeat = wire.heartbeat_key(queue.key).encode()
            step += [(b"EXISTS", heartbeat), (b"HMGET", heartbeat, b"status")]
        leased, *beat = check((yield step))
        return bool(leased) or (bool(beat) and bool(beat[0]) and beat[1] != [b"stopped"])


def _digest(message_id: bytes) -> str:
    return wire.id_digest(message_id.decode(errors="replace"))


def _id_of(token: bytes, raw: bytes) -> str:
    try:
        return read_id(parse_object(raw).get("id")) or token.decode(errors="replace")
    except MalformedMessage:
        return token.decode(errors="replace")


def _queued(state: bytes, raw: bytes, token: bytes, tries: int, entry: bytes) -> QueuedMessage:
    name, reason = token.decode(errors="replace") or f"sha1:{entry[:12].decode()}", ""
    if state == b"dead":
        line, _, raw = raw.partition(b"\n")
        try:
            letter = msgspec.json.decode(line, type=_Letter)
        except (msgspec.MsgspecError, ValueError):
            letter = _Letter(reason="not a letter of ours")
        name, tries = letter.name or name, letter.tries
        reason = f"malformed: {letter.reason}" if letter.malformed else letter.reason
    state_name: Any = state.decode()
    try:
        fields = parse_object(raw)
    except MalformedMessage:
        fields = {}
    return QueuedMessage(
        raw=raw,
        name=name,
        state=state_name,
        tries=tries,
        reason=reason,
        stored_at=sent_at(fields, claimed_at(name)),
        store="redis",
        entry=entry.decode(),
    )
