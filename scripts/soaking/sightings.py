"""Bots that live and were taken for dead: a pure function of what an observer saw and of what really was."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from .observer import STALE_S
from .records import AnyRecord, Ended, Seen, Started, Struck
from .verdict import of

_ENDED = ("lost", "stopped")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """When a bot's process is known to have lived: from its `main`'s first line to its kill."""

    bot_id: str
    pid: int
    began: float
    ended: float


class FalseDeath(msgspec.Struct, frozen=True, kw_only=True):
    """A look at which a bot that lived was shown as if it did not."""

    bot_id: str
    pid: int
    at: float
    shown: str


class Sightings(msgspec.Struct, frozen=True, kw_only=True):
    """What an observer saw of bots that lived.

    Args:
        looks: how often it looked.
        failed: how many looks brought nothing, as no store answered.
        seen: how many bots that lived it should have seen, over all looks.
        false: those it took for dead.
        while_away: the same, or missing, while it knew, and said, that it could not look into Redis: it shows
            what this host's files have, and a bot that has not noticed yet writes none.
    """

    looks: int
    failed: int
    seen: int
    false: list[FalseDeath]
    while_away: list[FalseDeath]


def lives(records: Sequence[AnyRecord]) -> list[Life]:
    """Return when each bot lived. A bot whose end is not in the ledgers lives for ever."""
    deaths = [(one.target, one.at) for one in of(records, Struck) if one.kind == "bot-kill"]
    deaths += [(one.name, one.at) for one in of(records, Ended)]
    return [
        Life(
            bot_id=one.bot_id,
            pid=one.pid,
            began=one.at,
            ended=min((at for bot, at in deaths if bot == one.bot and at > one.at), default=float("inf")),
        )
        for one in of(records, Started)
    ]


def sightings(records: Sequence[AnyRecord]) -> Sightings:
    """Return what the observer made of bots that lived from the beginning of its look to the end of it."""
    looks = of(records, Seen)
    known = lives(records)
    seen = 0
    false: list[FalseDeath] = []
    while_away: list[FalseDeath] = []
    for look in looks:
        if look.problem:
            continue
        for life in known:
            if not life.began <= look.began <= look.at < life.ended:
                continue
            seen += 1
            if shown := as_dead(look, life):
                found = while_away if look.away else false
                found.append(FalseDeath(bot_id=life.bot_id, pid=life.pid, at=look.at, shown=shown))
    failed = sum(bool(look.problem) for look in looks)
    return Sightings(looks=len(looks), failed=failed, seen=seen, false=false, while_away=while_away)


def as_dead(look: Seen, life: Life) -> str:
    """Return as what a bot was shown that lived; empty if it was shown as living."""
    beat = look.bots.get(life.bot_id)
    if beat is None:
        return "missing"
    if beat.pid != life.pid:
        return f"its predecessor {beat.pid}, {beat.status}"
    if beat.status in _ENDED:
        return beat.status
    return f"stale since {beat.age} s" if beat.age > STALE_S else ""
