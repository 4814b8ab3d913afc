"""Bots that hold the interpreter's lock: only the dump that faulthandler made tells that they are blocked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from . import process
from .heartbeat import Heartbeat
from .mending import Dump
from .stall import read_dump, to_health

_AFTER = re.compile(r"Timeout \((\d+):(\d\d):(\d\d)(?:\.\d+)?\)!")
_Process = tuple[str, str, int, int]


def with_dumps(heartbeats: Sequence[Heartbeat], dumps: Iterable[Dump], now: float) -> list[Heartbeat]:
    """Return heartbeats as their bots would have written them, had they been able to.

    A dump is its process's last word when it is newer than the heartbeats: a loop that turns again empties
    it. There is one for all bots of a process.

    Args:
        heartbeats: the last ones.
        dumps: those of this host.
        now: in seconds since the epoch.

    Returns:
        The same heartbeats; those of blocked bots say so, with the stack in ``health["blocked"]``.
    """
    here = {beat.bot_id: beat for beat in heartbeats if beat.boot_id and beat.boot_id == process.boot_id()}
    last_words: dict[_Process, Dump] = {}
    for dump in dumps:
        if dump.bot_id in here:
            last_words[_process(here[dump.bot_id])] = dump
    return [_blocked(beat, last_words.get(_process(beat)), now) for beat in heartbeats]


def _blocked(heartbeat: Heartbeat, dump: Dump | None, now: float) -> Heartbeat:
    if (
        dump is None
        or heartbeat.status in ("blocked", "stopped")
        or dump.written_at <= _written_at(heartbeat)
    ):
        return heartbeat
    after = _AFTER.match(dump.text)
    hours, minutes, seconds = map(int, after.groups()) if after else (0, 0, 0)
    stall = read_dump(dump.text, now - dump.written_at + hours * 3600 + minutes * 60 + seconds)
    if stall is None:
        return heartbeat
    health = {**heartbeat.health, "blocked": to_health(stall)}
    return msgspec.structs.replace(heartbeat, status="blocked", health=health)


def _process(heartbeat: Heartbeat) -> _Process:
    return (heartbeat.boot_id, heartbeat.pid_ns, heartbeat.pid, heartbeat.start_ticks)


def _written_at(heartbeat: Heartbeat) -> float:
    try:
        written = datetime.fromisoformat(heartbeat.timestamp)
        return written.replace(tzinfo=written.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
