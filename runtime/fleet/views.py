"""What is shown of a bot. Heartbeats come from anybody: whatever they hold, this makes something of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from botvisor import liveness, process
from botvisor.heartbeat import Heartbeat, number
from botvisor.store import Queue, QueuedMessage

from . import letters, rows, summary
from .words import duration, printable

MESSAGES = 100  # of a bot that are shown
_PEOPLE = 20
_LINE = 300  # characters
_TEXT = 2_000
_STACK = 8_000
_ENTRIES = 16
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def row_of(heartbeat: Heartbeat, stale_s: float) -> dict[str, Any]:
    """Return a bot's row in the fleet.

    Args:
        heartbeat: its last one.
        stale_s: the age at which one is stale, in seconds.
    """
    health, status = heartbeat.health, liveness.status(heartbeat, stale_s)
    age_s, up_s = number(liveness.age_s(heartbeat)), number(health.get("uptime_s"))
    if up_s is not None and age_s is not None and status not in liveness.ENDED:
        up_s += age_s
    try:
        note = rows.note_of(rows.row_of(heartbeat, stale_s))
    except _UNREADABLE:
        note = ""
    return {
        "bot_id": heartbeat.bot_id,
        "host": clip(heartbeat.host),
        "pid": number(heartbeat.pid),
        "room_url": clip(heartbeat.room_url),
        "participants": [clip(name, 80) for name in heartbeat.participants[:_PEOPLE]],
        "participant_count": len(heartbeat.participants),
        "status": clip(status, 20),
        "uptime_s": None if up_s is None else round(up_s, 1),
        "restarts": number(health.get("restarts")),
        "lag_ms": number(health.get("lag_ms")),
        "backend": clip(health.get("backend") or "", 40),
        "last_seen_s": None if age_s is None else round(age_s, 1),
        "seen_at": clip(heartbeat.timestamp, 60),
        "note": clip(note),
    }


def figures_of(heartbeat: Heartbeat) -> tuple[float | None, ...]:
    """Return what is plotted: see `history.COLUMNS`."""
    health = heartbeat.health
    lag_ms, blocked = number(health.get("lag_ms")), health.get("blocked")
    if heartbeat.status == "blocked" and isinstance(blocked, dict):
        # The last lag that the loop has measured itself is from before it stood still.
        lag_ms = max(lag_ms or 0.0, (number(blocked.get("for_s")) or 0.0) * 1000)
    boxes = health.get("mailboxes")
    depths = [number(depth) or 0.0 for depth in boxes.values()] if isinstance(boxes, dict) else []
    return (
        lag_ms,
        number(health.get("restarts")),
        number(health.get("rss_mb")),
        sum(depths) if isinstance(boxes, dict) else None,
    )


def details_of(
    heartbeat: Heartbeat, status: str, messages: Sequence[QueuedMessage], at: float
) -> dict[str, Any]:
    """Return what a bot's own page shows beside its row.

    Args:
        heartbeat: its last one.
        status: what its row says.
        messages: what its queues hold.
        at: when that was so, in seconds since the epoch.
    """
    try:
        told = summary.summary(_sighting(heartbeat, status, messages, at))
    except _UNREADABLE:
        told = "Its heartbeat holds what this version cannot read."
    blocked = heartbeat.health.get("blocked") if status == "blocked" else None
    stacks = heartbeat.health.get("stack")
    return {
        "summary": clip(told, _TEXT),
        "facts": [[name, clip(value)] for name, value in _facts(heartbeat)],
        "blocked": _blocked(blocked) if isinstance(blocked, dict) else None,
        "stacks": {clip(name, 80): _lines(text) for name, text in stacks.items()}
        if isinstance(stacks, dict)
        else None,
        "ledger": [_entry(entry) for entry in _ledger(heartbeat)[-_ENTRIES:]],
    }


def letter_of(queue: Queue, message: QueuedMessage) -> dict[str, Any]:
    """Return a message of a bot's queues as its page shows it."""
    letter = letters.letter_of(queue, message)
    return {
        **letter,
        "id": clip(letter["id"]),
        "queue": clip(queue),
        "stored_at": message.stored_at,
        "sender": clip(letter["sender"], 80) if letter["sender"] else None,
        "text": clip(letter["text"], _TEXT),
        "reason": clip(message.reason) or None,
    }


def clip(value: object, limit: int = _LINE) -> str:
    """Return a value as one line that can be shown: printable, and not too long."""
    text = str(value)
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return printable(cut)


def _lines(text: object) -> list[str]:
    return [clip(line) for line in str(text)[-_STACK:].splitlines() if line.strip()]


def _sighting(
    heartbeat: Heartbeat, status: str, messages: Sequence[QueuedMessage], at: float
) -> summary.Sighting:
    return summary.Sighting(
        heartbeat=heartbeat,
        status=status,
        age_s=max(0.0, liveness.age_s(heartbeat) - (time.time() - at)),
        gone=process.gone(liveness.owner(heartbeat)),
        messages=messages,
        now=at,
    )


def _facts(heartbeat: Heartbeat) -> Iterator[tuple[str, str]]:
    health = heartbeat.health
    yield "host", heartbeat.host or "-"
    yield "process", str(heartbeat.pid)
    yield "room", heartbeat.room_url or "-"
    yield "participants", ", ".join(heartbeat.participants[:_PEOPLE]) or "-"
    yield "backend", " ".join(_backend(health))
    yield from _measured(
        health,
        ("processor time", "cpu_s", "s"),
        ("held back by its cgroup", "throttled_s", "s"),
        ("longest pause for garbage", "gc_pause_ms", "ms"),
        ("oldest message in a mailbox", "oldest_message_s", "s"),
    )
    boxes = health.get("mailboxes")
    if isinstance(boxes, dict) and boxes:
        yield "mailboxes", ", ".join(f"{name} {depth}" for name, depth in list(boxes.items())[:_ENTRIES])
    if heartbeat.instance:
        yield "instance", heartbeat.instance
    yield "last heartbeat", heartbeat.timestamp


def _backend(health: dict[str, Any]) -> Iterator[str]:
    yield str(health.get("backend") or "-")
    store = health.get("store")
    if isinstance(store, dict):
        if (since_s := number(store.get("since_s"))) is not None:
            yield f"for {duration(since_s)}"
        if store.get("reason"):
            yield f"({store['reason']})"


def _measured(health: dict[str, Any], *wanted: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    for label, name, unit in wanted:
        if (value := number(health.get(name))) is not None:
            yield label, f"{value:g} {unit}"


def _blocked(blocked: dict[str, Any]) -> dict[str, Any]:
    return {
        "file": clip(blocked.get("file", "?")),
        "line": number(blocked.get("line")),
        "function": clip(blocked.get("function", "?")),
        "for_s": number(blocked.get("for_s")),
        "stack": _lines(blocked.get("stack", "")),
    }


def _ledger(heartbeat: Heartbeat) -> list[dict[str, Any]]:
    found: Iterable[Any] = summary.ledger(heartbeat)
    return [entry for entry in found if isinstance(entry, dict)]


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "at": clip(entry.get("at", ""), 60),
        "actor": clip(entry.get("actor", "")),
        "message": clip(entry.get("message") or ""),
        "error": clip(entry.get("error", "")),
        "backoff_s": number(entry.get("backoff_s")),
    }
