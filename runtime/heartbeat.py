"""The heartbeat record: what a bot says of itself, as a Redis hash and as a JSON file hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from .errors import MalformedMessage

VERSION = 1
# Fields that are numbers or JSON texts in the hash, and plain JSON in a file.
_JSON_FIELDS = frozenset({"pid", "participants", "v", "start_ticks", "seq", "health", "epitaph"})

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """One heartbeat.

    Args:
        pid: the process id, in the bot's own pid namespace.
        room_url: the room, as the bot was given it.
        participants: who is in the room.
        timestamp: when it was written, ISO 8601 in UTC, by the bot's clock; read from Redis by a host whose
            clock differs, when the server took it, by the reader's.
        bot_id: the bot's id.
        host: the host's name.
        boot_id: the kernel's boot id.
        pid_ns: the pid namespace.
        start_ticks: when the process started, in clock ticks since boot.
        instance: unique to one start of one bot.
        seq: counts up with every heartbeat of an instance: a bot is alive while it advances.
        status: ``starting``, ``healthy``, ``degraded``, ``draining``, ``blocked`` or ``stopped``.
        health: figures for operators; see docs/design.md.
        epitaph: a stopped bot's last words: reason, exit and last ledger entries.
        v: the version of the fields that are ours.
    """

    pid: _Count
    room_url: str
    participants: tuple[str, ...]
    timestamp: str
    bot_id: str = ""
    host: str = ""
    boot_id: str = ""
    pid_ns: str = ""
    start_ticks: _Count = 0
    instance: str = ""
    seq: _Count = 0
    status: str = ""
    health: dict[str, Any] = {}
    epitaph: dict[str, Any] | None = None
    v: int = VERSION


def to_hash(heartbeat: Heartbeat) -> dict[str, bytes]:
    """Return a heartbeat as the fields of a Redis hash.

    Raises:
        TypeError: when health or epitaph hold what JSON cannot.
        UnicodeEncodeError: when a text holds a lone surrogate.
    """
    fields: dict[str, bytes] = {}
    for name in Heartbeat.__struct_fields__:
        value = getattr(heartbeat, name)
        if value is None:
            continue
        fields[name] = msgspec.json.encode(value) if name in _JSON_FIELDS else value.encode()
    return fields


def from_hash(fields: Mapping[str, bytes]) -> Heartbeat:
    """Return the heartbeat that a Redis hash holds; fields that older writers leave out get defaults.

    Raises:
        MalformedMessage: when a field cannot be read.
    """
    try:
        plain = {
            name: msgspec.json.decode(value) if name in _JSON_FIELDS else value.decode()
            for name, value in fields.items()
            if name in Heartbeat.__struct_fields__
        }
        return msgspec.convert(plain, Heartbeat)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"heartbeat: {error}") from error


def to_json(fields: Mapping[str, bytes]) -> bytes:
    """Return the fields of a hash as the one JSON object that a heartbeat file holds."""
    return msgspec.json.encode(
        {name: msgspec.Raw(v) if name in _JSON_FIELDS else v.decode() for name, v in fields.items()}
    )


def from_json(raw: bytes) -> Heartbeat:
    """Return the heartbeat that a file holds.

    Raises:
        MalformedMessage: when it cannot be read.
    """
    try:
        return msgspec.json.decode(raw, type=Heartbeat)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"heartbeat: {error}") from error


def number(value: Any) -> float | None:
    """Return a figure in `health`; None for what is none, or not finite, or more than can be counted exactly.

    Heartbeats come from anybody, and one that is not honest is not to fail the reading of all the others.
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 2**53:
        return None
    return value if math.isfinite(value) else None
