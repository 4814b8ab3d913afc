"""Heartbeats of bots that cannot write any, as their event loop stands still."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from . import process
from .heartbeat import Heartbeat, number
from .mending import Dump
from .stall import Stall, read_dump, to_health

_AFTER = re.compile(r"Timeout \((\d+):(\d\d):(\d\d)(?:\.\d+)?\)!")
_Process = tuple[str, str, int, int]


def as_blocked(last: Heartbeat, stall: Stall, at: datetime, seq: int) -> Heartbeat:
    """Return the heartbeat of a bot whose event loop stands still.

    Args:
        last: its last own one.
        stall: what blocks it.
        at: when that was seen, in UTC.
        seq: its number.
    """
    health = {**last.health, "blocked": to_health(stall)}
    if (up_s := number(health.get("uptime_s"))) is not None:
        health["uptime_s"] = round(up_s + max(0.0, at.timestamp() - _written_at(last)), 1)
    timestamp = at.isoformat(timespec="milliseconds")
    return msgspec.structs.replace(last, seq=seq, status="blocked", timestamp=timestamp, health=health)


def with_dumps(heartbeats: Sequence[Heartbeat], dumps: Iterable[Dump]) -> list[Heartbeat]:
    """Return heartbeats as their bots would have written them, had they been able to.

    A dump is its process's last word when it is newer than the heartbeats: a loop that turns again empties
    it. There is one for all bots of a process.

    Args:
        heartbeats: the last ones.
        dumps: those of this host.

    Returns:
        The same heartbeats; those of blocked bots say so, with the stack in ``health["blocked"]``, and are
        as old as the dump.
    """
    here = {beat.bot_id: beat for beat in heartbeats if beat.boot_id and beat.boot_id == process.boot_id()}
    last_words: dict[_Process, Dump] = {}
    for dump in dumps:
        if dump.bot_id in here:
            last_words[_process(here[dump.bot_id])] = dump
    return [_blocked(beat, last_words.get(_process(beat))) for beat in heartbeats]


def _blocked(heartbeat: Heartbeat, dump: Dump | None) -> Heartbeat:
    if (
        dump is None
        or heartbeat.status in ("blocked", "stopped")
        or dump.written_at <= _written_at(heartbeat)
    ):
        return heartbeat
    after = _AFTER.match(dump.text)
    hours, minutes, seconds = map(int, after.groups()) if after else (0, 0, 0)
    stall = read_dump(dump.text, hours * 3600 + minutes * 60 + seconds)
    if stall is None:
        return heartbeat
    return as_blocked(heartbeat, stall, datetime.fromtimestamp(dump.written_at, UTC), heartbeat.seq)


def _process(heartbeat: Heartbeat) -> _Process:
    return (heartbeat.boot_id, heartbeat.pid_ns, heartbeat.pid, heartbeat.start_ticks)


def _written_at(heartbeat: Heartbeat) -> float:
    try:
        written = datetime.fromisoformat(heartbeat.timestamp)
        return written.replace(tzinfo=written.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return math.inf  # nothing is newer than what nobody can date
