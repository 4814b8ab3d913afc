"""What the fleet's heartbeats say, as rows: decides, and prints nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from botvisor import liveness
from botvisor.heartbeat import Heartbeat, number
from botvisor.room import canonical_room

from .words import duration

STATUSES = ("starting", "healthy", "degraded", "draining", "blocked", "stopped", "lost")
_BACKENDS = ("redis", "file", "memory")


class Filters(msgspec.Struct, frozen=True):
    """Which bots somebody wants to see; what is empty filters nothing.

    Args:
        everybody: also those that stopped or were lost.
        rooms: URLs of rooms, in any form.
        statuses: statuses; to ask for those that ended implies `everybody`.
        hosts: names of hosts.
        lower_path: whether rooms differ in the case of their path.
    """

    everybody: bool = False
    rooms: Collection[str] = ()
    statuses: Collection[str] = ()
    hosts: Collection[str] = ()
    lower_path: bool = False

    def let_through(self, row: dict[str, Any]) -> bool:
        """Return whether a row is wanted."""
        everybody = self.everybody or any(status in self.statuses for status in liveness.ENDED)
        return (
            (everybody or row["status"] not in liveness.ENDED)
            and (not self.statuses or row["status"] in self.statuses)
            and (not self.hosts or row["host"] in self.hosts)
            and (not self.rooms or self._canonical(row["room_url"]) in map(self._canonical, self.rooms))
        )

    def _canonical(self, room: str) -> str:
        return canonical_room(room, lower_path=self.lower_path) if room else ""


def rows_of(heartbeats: Iterable[Heartbeat], stale_s: float, filters: Filters) -> list[dict[str, Any]]:
    """Return a row for each bot that is wanted, sorted by their ids.

    Args:
        heartbeats: the last ones of the fleet.
        stale_s: the age at which one is stale, in seconds.
        filters: which are wanted.
    """
    rows = [row_of(heartbeat, stale_s) for heartbeat in heartbeats]
    return sorted(filter(filters.let_through, rows), key=lambda row: str(row["bot_id"]))


def row_of(heartbeat: Heartbeat, stale_s: float) -> dict[str, Any]:
    """Return a bot's row: what `ps --json` shows of it."""
    health, status, age_s = heartbeat.health, liveness.status(heartbeat, stale_s), liveness.age_s(heartbeat)
    return {
        "bot_id": heartbeat.bot_id,
        "host": heartbeat.host,
        "pid": heartbeat.pid,
        "room_url": heartbeat.room_url,
        "participants": list(heartbeat.participants),
        "status": status,
        "uptime_s": uptime_s(health, 0.0 if status in liveness.ENDED else age_s),
        "restarts": number(health.get("restarts")),
        "lag_ms": number(health.get("lag_ms")),
        "backend": health.get("backend"),
        "last_seen_s": round(age_s, 1),
        "epitaph": heartbeat.epitaph,
        "blocked": blocked_of(heartbeat),
        "backends": backends_of(health),
        "reason": reason_of(health),
    }


def uptime_s(health: dict[str, Any], age_s: float) -> float | None:
    """Return for how long a bot has run, in seconds; None if it does not say.

    Args:
        health: what its heartbeat says.
        age_s: how old that is, in seconds; 0 for a bot that has ended.
    """
    told = number(health.get("uptime_s"))
    return None if told is None else round(told + age_s, 1)


def blocked_of(heartbeat: Heartbeat) -> dict[str, Any] | None:
    """Return where a bot is blocked: ``file``, ``line``, ``function``, ``for_s``; None if it does not say."""
    blocked = heartbeat.health.get("blocked")
    if not isinstance(blocked, dict):
        return None
    place = {name: blocked.get(name) for name in ("file", "line", "function")}
    told_s = number(blocked.get("for_s"))
    for_s = None if told_s is None else told_s + liveness.age_s(heartbeat)
    return {**place, "for_s": None if for_s is None else round(for_s, 1)}


def backends_of(health: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a bot says of its backends, by their names: counts, ``p50_ms``, ``p99_ms`` and so on."""
    store = health.get("store")
    if not isinstance(store, dict):
        return {}
    found = {name: store[name] for name in _BACKENDS if isinstance(store.get(name), dict)}
    return {
        name: {
            "operations": _sum(figures.get("operations")),
            "errors": _sum(figures.get("errors")),
            **{each: figures.get(each) for each in ("p50_ms", "p99_ms", "retries", "fallbacks")},
        }
        for name, figures in found.items()
    }


def reason_of(health: dict[str, Any]) -> str | None:
    """Return what a bot says of its Redis: why it is not used or takes no more; None if all is well."""
    store = health.get("store")
    reason = store.get("reason") if isinstance(store, dict) else None
    return reason if isinstance(reason, str) and reason else None


def note_of(row: dict[str, Any]) -> str:
    """Return what else there is to say of a bot, in a few words: how it ended, what blocks or ails it."""
    blocked, epitaph = row["blocked"], row["epitaph"]
    if row["status"] == "blocked" and blocked is not None:
        return (
            f"{blocked['file']}:{blocked['line']} in {blocked['function']}, for {duration(blocked['for_s'])}"
        )
    if row["status"] == "blocked":
        return "says nothing, though its process lives"
    if row["status"] == "degraded":
        return row["reason"] or ""
    if epitaph:
        words = [str(epitaph.get(name)) for name in ("reason", "exit") if epitaph.get(name) not in (None, "")]
        return ": ".join(words)
    return ""


def _sum(counts: Any) -> float:
    return sum(number(count) or 0 for count in counts.values()) if isinstance(counts, dict) else 0
