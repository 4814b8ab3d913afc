"""What a bot is doing, or how it ended, in plain words: sentences from what its heartbeat says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from botvisor.heartbeat import Heartbeat, number
from botvisor.store import QueuedMessage

from .rows import blocked_of
from .words import duration

_LAG_MS = 100.0  # from which it is worth a word
_THROTTLED_S = 0.1
_HOLDS_S = 10.0
_HOMES = {"redis": "Redis", "file": "this host's files", "none": "nothing", "recovering": "Redis again"}


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What an observer knows of a bot.

    Args:
        heartbeat: its last one.
        status: what the observer makes of it; see `botvisor.liveness`.
        age_s: how old it is, in seconds.
        gone: whether its process has ended; None when that cannot be judged from here.
        messages: what its queues hold.
        now: the observer's time, in seconds since the epoch.
    """

    heartbeat: Heartbeat
    status: str
    age_s: float
    gone: bool | None
    messages: Sequence[QueuedMessage] = ()
    now: float = 0.0


def since_s(sighting: Sighting) -> float | None:
    """Return for how long a bot has been as it is, in seconds; None when nobody knows."""
    health, age_s = sighting.heartbeat.health, sighting.age_s
    blocked = blocked_of(sighting.heartbeat)
    match sighting.status:
        case "blocked" if blocked is not None:
            found = blocked["for_s"]
        case "stopped" | "lost" | "blocked":
            found = age_s
        case _:
            told = number(health.get("status_s", health.get("uptime_s")))
            found = None if told is None else told + age_s
    return None if found is None or found == float("inf") else round(found, 1)


def summary(sighting: Sighting) -> str:
    """Return one paragraph about a bot."""
    return " ".join(_sentences(sighting))


def where(sighting: Sighting) -> dict[str, Any] | None:
    """Return the line that blocks a bot: ``file``, ``line`` and ``function``; None when it is not blocked."""
    blocked = blocked_of(sighting.heartbeat) if sighting.status == "blocked" else None
    return None if blocked is None else {name: blocked[name] for name in ("file", "line", "function")}


def ledger(heartbeat: Heartbeat) -> list[dict[str, Any]]:
    """Return the last exits that a bot told of, the last words' first."""
    epitaph = heartbeat.epitaph or {}
    found = epitaph.get("ledger") or heartbeat.health.get("ledger")
    return found if isinstance(found, list) else []


def _sentences(sighting: Sighting) -> Iterator[str]:
    heartbeat, status = sighting.heartbeat, sighting.status
    name, since = _name(heartbeat), duration(since_s(sighting))
    match status:
        case "stopped":
            yield _stopped(sighting)
        case "lost":
            yield _lost(sighting)
        case "blocked":
            yield _blocked(sighting)
        case "degraded":
            yield _degraded(sighting)
        case "starting":
            yield f"{name} has been starting for {since}: its main does not run yet."
        case "draining":
            then = "it takes no more messages, and ends when its main does"
            yield f"{name} has been draining for {since}: {then}."
        case _:
            yield f"{name} is {status}, and has been for {since}."
    if status not in ("stopped", "lost"):
        yield from _life(sighting)
        yield from _main(sighting)
    yield from _ledger(heartbeat)
    yield from _messages(sighting)


def _stopped(sighting: Sighting) -> str:
    epitaph = sighting.heartbeat.epitaph or {}
    reason, ended = epitaph.get("reason"), str(epitaph.get("exit") or "")
    text = f"{_name(sighting.heartbeat)} stopped {duration(sighting.age_s)} ago"
    if reason:
        text += f" ({reason})"
    match ended:
        case "":
            return f"{text}."
        case "returned":
            return f"{text}: its main returned."
        case "cancelled":
            return f"{text}: its main was cancelled, as it did not end in its grace."
    return f"{text}: its main ended with {ended}."


def _lost(sighting: Sighting) -> str:
    heartbeat = sighting.heartbeat
    seen = duration(sighting.age_s)
    text = f"{_name(heartbeat)} is lost: it was last heard of {seen} ago, and left no last words."
    if sighting.gone:
        return f"{text} Its process has ended, so it was killed, or it crashed outside of botvisor."
    where = f" on {heartbeat.host}" if heartbeat.host else ""
    return f"{text} Whether its process{where} still lives cannot be told from here."


def _blocked(sighting: Sighting) -> str:
    heartbeat, blocked = sighting.heartbeat, blocked_of(sighting.heartbeat)
    if blocked is None:
        return (
            f"{_name(heartbeat)} has said nothing for {duration(sighting.age_s)} although its process lives: "
            "its event loop does not turn, or it cannot write heartbeats."
        )
    return (
        f"{_name(heartbeat)} is blocked: its event loop has stood still for {duration(since_s(sighting))} at "
        f"{blocked['file']}:{blocked['line']} in {blocked['function']}."
    )


def _degraded(sighting: Sighting) -> str:
    health = sighting.heartbeat.health
    text = f"{_name(sighting.heartbeat)} has been degraded for {duration(since_s(sighting))}"
    resting = health.get("resting")
    if isinstance(resting, list) and resting:
        names = ", ".join(str(name).rpartition("/")[2] for name in resting)
        text += f": after failures {names} {'rest' if len(resting) > 1 else 'rests'} until it is tried again"
    return f"{text}."


def _main(sighting: Sighting) -> Iterator[str]:
    main = sighting.heartbeat.health.get("main")
    holds_s = number(main.get("holds_s")) if isinstance(main, dict) else None
    if holds_s is not None and holds_s + sighting.age_s >= _HOLDS_S:
        yield f"Its main has had one message in hand for {duration(holds_s + sighting.age_s)}."


def _life(sighting: Sighting) -> Iterator[str]:
    heartbeat, health = sighting.heartbeat, sighting.heartbeat.health
    facts = []
    if (up_s := number(health.get("uptime_s"))) is not None:
        facts.append(f"has run for {duration(up_s + sighting.age_s)}")
    if heartbeat.room_url:
        facts.append(f"serves {heartbeat.room_url}")
    count = len(heartbeat.participants)
    if count:
        facts.append(f"has {count} participant{'s' if count > 1 else ''}")
    if facts:
        yield f"It {_listed(facts)}."
    lag = number(health.get("lag_ms"))
    if sighting.status != "blocked" and lag is not None and lag >= _LAG_MS:
        yield f"Its event loop lags by {duration(lag / 1000) if lag >= 1000 else f'{lag:g} ms'}."
    if (held := number(health.get("throttled_s"))) is not None and held >= _THROTTLED_S:
        yield f"Its cgroup's processor limit has kept it from running for {duration(held)} so far."
    yield from _backend(health, sighting.age_s)


def _backend(health: dict[str, Any], age_s: float) -> Iterator[str]:
    mode, store = health.get("backend"), health.get("store")
    if not isinstance(mode, str):
        return
    store = store if isinstance(store, dict) else {}
    home = _HOMES.get(mode, mode)
    since = number(store.get("since_s"))
    text = f"It keeps everything on {home}"
    if since is not None:
        text += f", and has for {duration(since + age_s)}"
    reason = store.get("reason")
    if mode == "redis" and reason:
        yield f"{text}, which takes no more: {reason}."
    else:
        yield f"{text}, as Redis is away: {reason}." if reason else f"{text}."
    fallbacks = store.get("fallbacks")
    if mode == "redis" and isinstance(fallbacks, int) and fallbacks:
        yield f"Of its operations so far Redis did not take {fallbacks}: this host's files did."


def _ledger(heartbeat: Heartbeat) -> Iterator[str]:
    entries = [entry for entry in ledger(heartbeat) if isinstance(entry, dict)]
    restarts = heartbeat.health.get("restarts")
    if isinstance(restarts, int) and restarts:
        yield f"Its actors were restarted {restarts} time{'s' if restarts > 1 else ''}."
    if entries:
        last = entries[-1]
        actor = str(last.get("actor", "")).rpartition("/")[2]
        handling = f" on {last['message']}" if last.get("message") else ""
        what = f"{actor}{handling}, {last.get('error', '?')}"
        yield f"The last entry of its ledger, of {last.get('at', '?')}: {what}."


def _messages(sighting: Sighting) -> Iterator[str]:
    by_state: dict[str, list[QueuedMessage]] = {}
    for message in sighting.messages:
        by_state.setdefault(message.state, []).append(message)
    waiting, claimed, dead = (by_state.get(state, []) for state in ("stored", "delivered", "dead"))
    if waiting:
        oldest_s = max(0.0, sighting.now - min(message.stored_at for message in waiting))
        verb = "waits" if len(waiting) == 1 else "wait"
        yield f"{_count(waiting)} {verb} for it, the oldest for {duration(oldest_s)}."
    if claimed:
        tries = max(message.tries for message in claimed)
        again = f", at try {tries}" if tries > 1 else ""
        yield f"It has {_count(claimed)} that it has not handled yet{again}."
    if dead:
        verb = "was" if len(dead) == 1 else "were"
        yield f"{_count(dead)} {verb} given up: see `botvisor inbox {sighting.heartbeat.bot_id}`."


def _name(heartbeat: Heartbeat) -> str:
    process = f" (process {heartbeat.pid} on {heartbeat.host})" if heartbeat.host else ""
    return f"{heartbeat.bot_id}{process}"


def _listed(facts: list[str]) -> str:
    return facts[0] if len(facts) == 1 else f"{', '.join(facts[:-1])} and {facts[-1]}"


def _count(messages: Sequence[QueuedMessage]) -> str:
    return "1 message" if len(messages) == 1 else f"{len(messages)} messages"
