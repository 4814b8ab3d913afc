"""What a doctor makes of facts: findings, each with its remedy. Decides, and asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from botvisor.mending import Facts

Level = Literal["ok", "warning", "problem"]

_SAFE_POLICY = "noeviction"
_OLDEST = 5
_MODE = "0700"
_LITTLE_MB = 100.0
_SLOW_MS, _TOO_SLOW_MS = 10.0, 200.0
_SKEW_S, _TOO_SKEWED_S = 2.0, 15.0
_FULL, _NEARLY_FULL = 0.95, 0.8
_FRAGMENTED, _FRAGMENTED_FROM_BYTES = 1.5, 100 * 1_048_576
_BUSY = 0.8  # of a core, on average


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Args:
        topic: what it is about, in a word or two.
        level: ``ok``; ``warning``: bots work, and might not; ``problem``: they do not, or lose messages.
        text: what was found.
        remedy: what to do about it; empty when there is nothing to do.
    """

    topic: str
    level: Level
    text: str
    remedy: str = ""


def of_directories(facts: Facts) -> Iterator[Finding]:
    """Yield what there is to say of a host's directories; see `file_facts`."""
    for each in facts["directories"]:
        topic, path = "directory", f"{each['variable']} {each['path']}"
        if each["problem"]:
            yield Finding(topic, "problem", f"{path} {each['problem']}", each["remedy"])
        elif not each["exists"]:
            yield Finding(topic, "ok", f"{path} is made when it is first used")
        elif each["mode"] != _MODE:
            text = f"{path} has mode {each['mode']}: others may read what is in it"
            yield Finding(topic, "warning", text, f"run: chmod 700 {each['path']}")
        elif each["free_mb"] is not None and each["free_mb"] < _LITTLE_MB:
            text = f"{path} has {each['free_mb']:g} MB left on its filesystem"
            yield Finding(topic, "warning", text, "make room, or set another path")
        else:
            yield Finding(topic, "ok", f"{path} has mode {each['mode']}")


def of_redis(facts: Facts, *, encrypted: bool, authenticated: bool, local: bool) -> Iterator[Finding]:
    """Yield what there is to say of a server; see `RedisFacts`.

    Args:
        facts: what it told.
        encrypted: whether the connection is.
        authenticated: whether we log in with a password.
        local: whether it is reached without leaving this host.
    """
    info: dict[str, str] = facts["info"]
    yield from _server(facts, info)
    yield _policy(facts, info)
    yield from _persistence(info)
    yield from _memory(info)
    yield from _load(facts, info)
    yield from _rights(facts, authenticated=authenticated, local=local)
    yield _tls(encrypted=encrypted, local=local)
    yield _clock(facts["skew_s"])


def _server(facts: Facts, info: dict[str, str]) -> Iterator[Finding]:
    version = facts.get("version") or "of a version that it does not tell"
    text = f"{facts.get('kind', 'redis')} {version} at {facts.get('address', '?')}"
    major = version.partition(".")[0]
    if facts.get("kind") == "redis" and major.isdecimal() and int(major) < _OLDEST:
        yield Finding("server", "problem", text, "Redis 5.0 or later is needed")
    elif facts.get("mode") == "cluster" or info.get("cluster_enabled") == "1":
        yield Finding("server", "ok", f"{text}, a cluster: what follows is of one of its nodes")
    elif info.get("role") == "slave":
        remedy = "REDIS_URL must name the primary, or the Sentinels"
        yield Finding("server", "problem", f"{text}, a replica: it takes no writes", remedy)
    else:
        yield Finding("server", "ok", text)


def _policy(facts: Facts, info: dict[str, str]) -> Finding:
    policy, evicted = facts.get("policy"), info.get("evicted_keys", "0")
    remedy = f"run: redis-cli CONFIG SET maxmemory-policy {_SAFE_POLICY}, and set it in redis.conf"
    if policy is None:
        return Finding("eviction", "warning", "its maxmemory-policy cannot be read", "allow +info in the ACL")
    if policy != _SAFE_POLICY:
        text = f"maxmemory-policy is {policy}: a full server throws messages away"
        return Finding("eviction", "problem", text, remedy)
    if evicted not in ("0", ""):
        return Finding(
            "eviction", "warning", f"{policy} now, but {evicted} keys were evicted since its start"
        )
    return Finding("eviction", "ok", f"maxmemory-policy is {policy}")


def _persistence(info: dict[str, str]) -> Iterator[Finding]:
    if not info:
        return
    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        remedy = "see the server's log: its disk is full, or may not be written"
        yield Finding("persistence", "problem", "the server's last attempt to save has failed", remedy)
    elif info.get("aof_enabled") == "1":
        yield Finding("persistence", "ok", "every write is kept in the append-only file")
    else:
        text = "only snapshots are saved, if any: a crash loses the messages sent since the last one"
        yield Finding(
            "persistence", "warning", text, "set appendonly yes, or send what matters with --durable"
        )


def _memory(info: dict[str, str]) -> Iterator[Finding]:
    used, limit = _number(info.get("used_memory")), _number(info.get("maxmemory"))
    if used is None:
        return
    shown = f"{used / 1_048_576:.1f} MB used"
    if not limit:
        yield Finding("memory", "ok", f"{shown}, no limit set")
    else:
        share = used / limit
        level: Level = "problem" if share > _FULL else "warning" if share > _NEARLY_FULL else "ok"
        remedy = "" if level == "ok" else "raise maxmemory, or give bots a server of their own"
        yield Finding("memory", level, f"{shown}, {share:.0%} of {limit / 1_048_576:.1f} MB", remedy)
    ratio = _number(info.get("mem_fragmentation_ratio"))
    if ratio is not None and ratio > _FRAGMENTED and used > _FRAGMENTED_FROM_BYTES:
        remedy = "run: redis-cli CONFIG SET activedefrag yes"
        yield Finding("fragmentation", "warning", f"it holds {ratio:g} times the memory that it uses", remedy)
    elif ratio is not None:
        yield Finding("fragmentation", "ok", f"ratio {ratio:g}")


def _load(facts: Facts, info: dict[str, str]) -> Iterator[Finding]:
    seconds = [_number(info.get(name)) for name in ("used_cpu_sys", "used_cpu_user", "uptime_in_seconds")]
    if all(each is not None for each in seconds) and seconds[2]:
        share = ((seconds[0] or 0) + (seconds[1] or 0)) / seconds[2]
        busy = share > _BUSY
        remedy = "look for slow commands: redis-cli SLOWLOG GET" if busy else ""
        yield Finding("cpu", "warning" if busy else "ok", f"{share:.1%} of a core since its start", remedy)
    best, worst = facts["latency_ms"], facts["latency_worst_ms"]
    level: Level = "problem" if best > _TOO_SLOW_MS else "warning" if best > _SLOW_MS else "ok"
    remedy = (
        ""
        if level == "ok"
        else "bring the server nearer, or look at the network and at redis-cli SLOWLOG GET"
    )
    yield Finding("latency", level, f"a round trip takes {best:g} to {worst:g} ms", remedy)
    clients, most = _number(info.get("connected_clients")), _number(info.get("maxclients"))
    if clients is not None and most and clients / most > _NEARLY_FULL:
        yield Finding("clients", "warning", f"{clients:g} of {most:g} connections", "raise maxclients")
    elif clients is not None:
        yield Finding("clients", "ok", f"{clients:g} connections")


def _rights(facts: Facts, *, authenticated: bool, local: bool) -> Iterator[Finding]:
    for right, remedy in facts["forbidden"].items():
        yield Finding("acl", "problem", f"we may not {right}", remedy)
    user = facts["user"]
    if not facts["forbidden"]:
        yield Finding("acl", "ok", f"user {user} may do what bots do" if user else "we may do what bots do")
    if not authenticated and not local:
        remedy = "give the server a password, and REDIS_SHARED_SECRET or REDIS_PASSWORD_FILE the same"
        yield Finding("password", "warning", "the server lets everybody in without a password", remedy)
    else:
        yield Finding("password", "ok", "set" if authenticated else "none, on this host alone")


def _tls(*, encrypted: bool, local: bool) -> Finding:
    if encrypted or local:
        return Finding("tls", "ok", "on" if encrypted else "off, and nothing leaves this host")
    text = "off: messages and the password cross the network in the clear"
    return Finding("tls", "warning", text, "use rediss:// in REDIS_URL")


def _clock(skew_s: float | None) -> Finding:
    if skew_s is None:
        return Finding("clock", "warning", "the server does not tell its time", "allow +time in the ACL")
    ahead = "ahead of" if skew_s > 0 else "behind"
    text = f"the server's is {abs(skew_s):.2f} s {ahead} this host's"
    level: Level = "problem" if abs(skew_s) > _TOO_SKEWED_S else "warning" if abs(skew_s) > _SKEW_S else "ok"
    return Finding("clock", level, text, "" if level == "ok" else "synchronise both with NTP")


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
