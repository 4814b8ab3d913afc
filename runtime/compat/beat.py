"""A heartbeat as the guide's functions take and give it: four fields, and a pid that is the key."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from botvisor.heartbeat import VERSION, Heartbeat
from botvisor.stamps import stamp_of
from botvisor.target import bot_only

_PID_DIGITS = 10
_VERSION = b"%d" % VERSION


def text_of(pid: int | str) -> str:
    """Return a bot's name as text.

    Args:
        pid: its pid, or a text.

    Raises:
        TypeError: when it is neither.
    """
    if isinstance(pid, bool) or not isinstance(pid, (int, str)):
        raise TypeError(f"a bot is named by its pid or its id, not by {type(pid).__name__}")
    return str(pid)


def key_of(pid: int | str) -> str:
    """Return the key that a bot is known by.

    Args:
        pid: its pid; or its id, of which a pid is one.

    Raises:
        TypeError: when it is neither a number nor a text.
        ValueError: when it is not a valid id.
    """
    return bot_only(text_of(pid))


def fields_of(key: str, room_url: str, participants: Iterable[str]) -> dict[str, bytes]:
    """Return the fields of a heartbeat that is written now, as `WriteHeartbeat` takes them.

    Args:
        key: the bot's key. If it is no pid, the heartbeat has that of this process.
        room_url: the bot's room.
        participants: who is in it.

    Raises:
        TypeError: when the room or a participant is no text.
        ValueError: when a text holds a lone surrogate.
    """
    if not isinstance(room_url, str):
        raise TypeError(f"a room's URL is a text, not {type(room_url).__name__}")
    if isinstance(participants, (str, bytes)):
        raise TypeError("participants are a list of texts")
    names = list(participants)
    for name in names:
        if not isinstance(name, str):
            raise TypeError("participants are a list of texts")
    is_pid = key.isdecimal() and len(key) <= _PID_DIGITS
    return {
        "pid": b"%d" % (int(key) if is_pid else os.getpid()),
        "room_url": room_url.encode(),
        "participants": msgspec.json.encode(names),
        "timestamp": stamp_of(int(time.time() * 1000)).encode(),
        # A hash keeps the fields of whoever wrote it before, and he may have stopped.
        "v": _VERSION,
        "bot_id": key.encode(),
        "status": b"healthy",
    }


def record_of(beat: Heartbeat | None) -> dict[str, Any] | None:
    """Return a heartbeat as a dict, or None when there is none."""
    if beat is None:
        return None
    return {
        "pid": beat.pid,
        "room_url": beat.room_url,
        "participants": list(beat.participants),
        "timestamp": beat.timestamp,
    }
