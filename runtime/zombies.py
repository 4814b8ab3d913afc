"""Zombies: bots whose process lives, and that have stopped to say so. Decides; what is done is for others."""

from __future__ import annotations

from typing import Literal

import msgspec

from . import process
from .heartbeat import Heartbeat, number

Verdict = Literal["alive", "young", "suspect", "zombie", "ended"]


class Suspicion(msgspec.Struct, frozen=True):
    """What was seen of a bot at the last look.

    Args:
        instance: which start of it that was.
        seq: its last heartbeat's number.
        hits: at how many looks in a row it was stale.
    """

    instance: str = ""
    seq: int = -1
    hits: int = 0


def look(
    heartbeat: Heartbeat,
    before: Suspicion | None,
    *,
    age_s: float,
    uptime_s: float | None,
    stale_s: float,
    grace_s: float,
) -> Suspicion:
    """Return what a bot is suspected of after one more look at its heartbeat.

    A heartbeat is stale when it is old and its number has not advanced since the look before.

    Args:
        heartbeat: its last one.
        before: the look before; None at the first.
        age_s: how old the heartbeat is, in seconds.
        uptime_s: how long ago the bot was started, in seconds; None when nobody knows.
        stale_s: the age from which it is stale, `BOT_HEARTBEAT_STALE_SECS`.
        grace_s: how long a bot is not suspected after its start, `BOT_ZOMBIE_SPAWN_GRACE_SECS`.
    """
    same = before is not None and before.instance == heartbeat.instance
    advanced = same and before is not None and before.seq != heartbeat.seq
    young = uptime_s is not None and uptime_s < grace_s
    stale = age_s > stale_s and not advanced and not young and heartbeat.status != "stopped"
    hits = before.hits if same and before is not None else 0
    return Suspicion(heartbeat.instance, heartbeat.seq, hits + 1 if stale else 0)


def judge(
    suspicion: Suspicion,
    *,
    gone: bool | None,
    stopped: bool,
    young: bool,
    required_hits: int,
) -> Verdict:
    """Return what a bot is after the last look.

    Args:
        suspicion: the last look.
        gone: whether its process has ended; None when that cannot be judged from here.
        stopped: whether it has left its last words.
        young: whether its grace after its start is not over.
        required_hits: stale looks in a row that make a zombie, `BOT_ZOMBIE_REQUIRED_STALE_HITS`.

    Returns:
        ``zombie``; ``suspect``: stale, but not often enough; ``young``: too young to be judged; ``ended``:
        there is no process any more; ``alive``.
    """
    if stopped or gone:
        return "ended"
    if young:
        return "young"
    if suspicion.hits >= required_hits:
        return "zombie"
    return "suspect" if suspicion.hits else "alive"


def uptime_s(heartbeat: Heartbeat, age_s: float, now: float) -> float | None:
    """Return how long ago a bot's process was started, in seconds; None when nobody knows.

    Args:
        heartbeat: its last one.
        age_s: how old that is, in seconds.
        now: in seconds since the epoch.
    """
    if heartbeat.start_ticks and heartbeat.boot_id and heartbeat.boot_id == process.boot_id():
        return max(0.0, now - process.started_at_s(heartbeat.start_ticks))
    told = number(heartbeat.health.get("uptime_s"))
    return None if told is None else told + age_s
