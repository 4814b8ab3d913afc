"""The commands of other programs that show what there is of a bot: on Redis, and in files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from botvisor import wire
from botvisor.config import Settings
from botvisor.store import Queue


class Look(NamedTuple):
    """One look at a bot.

    Args:
        shows: what it shows.
        command: for a shell.
    """

    shows: str
    command: str


def on_redis(redis_cli: str, bot_id: str, room_url: str, queues: list[Queue]) -> Iterator[Look]:
    """Yield the looks at a bot's keys.

    Args:
        redis_cli: the program and its options that say where Redis is.
        bot_id: the bot.
        room_url: its room, if it has one.
        queues: the queues that it serves.
    """

    def look(shows: str, *words: str) -> Look:
        return Look(shows, f"{redis_cli} {shlex.join(words)}")

    yield look("its heartbeat", "HGETALL", wire.heartbeat_key(bot_id))
    yield look("how long that is kept, in s", "TTL", wire.heartbeat_key(bot_id))
    yield look("when it counts as gone, in ms", "ZSCORE", wire.ALIVE_KEY, bot_id)
    yield look("its last words", "GET", wire.epitaph_key(bot_id))
    yield look("what is left if it was killed", "GET", wire.last_key(bot_id))
    for queue in dict.fromkeys(Queue(each.kind, each.key) for each in queues):
        name = wire.prespawn_queue(queue.key) if queue.kind == "pre-spawn" else wire.admin_queue(queue.key)
        yield look(f"what waits for {queue}", "LRANGE", name, "0", "-1")
        yield look(f"who serves {queue}", "HGETALL", wire.owner_key(name))
        yield look(f"what is in flight for {queue}", "HGETALL", wire.proc_key(name))
        yield look(f"what was handled of {queue}", "ZREVRANGE", wire.done_key(name), "0", "99", "WITHSCORES")
        yield look(f"what was given up of {queue}", "LRANGE", wire.dead_key(name), "-10", "-1")
    yield look("commands for it", "LRANGE", wire.control_key(wire.admin_queue(bot_id)), "0", "-1")
    if room_url:
        yield look("who is known in its room", "ZRANGE", wire.identity_index_key(room_url), "0", "-1")


def in_files(settings: Settings, bot_id: str) -> Iterator[Look]:
    """Yield the looks at a bot's files on this host."""
    heartbeats, messages = settings.heartbeat_dir, settings.admin_message_dir
    yield Look("its heartbeat", f"cat {_quoted(heartbeats / wire.heartbeat_file(bot_id))}")
    yield Look("the stack of a blocked bot", f"cat {_quoted(heartbeats / wire.stack_file(bot_id))}")
    waiting = _quoted(messages / wire.admin_prefix(bot_id))
    yield Look("what waits for it", f"ls -l {waiting}*")
    yield Look("what is in flight", f"ls -l {_quoted(messages / wire.CLAIM_DIR / wire.encode_id(bot_id))}")
    yield Look("who serves it", f"cat {_quoted(messages / wire.lock_file(bot_id))}")
    yield Look("what was given up", f"ls -l {_quoted(messages / wire.DEAD_DIR / wire.encode_id(bot_id))}.*")


def redis_cli(
    *, host: str, port: int, path: str | None, db: int, tls: bool, user: str | None, cluster: bool = False
) -> str:
    """Return how redis-cli reaches a server, or all of a cluster; the password is for REDISCLI_AUTH."""
    words = ["redis-cli", *(["-s", path] if path is not None else ["-h", host, "-p", str(port)])]
    if cluster:
        words.append("-c")
    if db:
        words += ["-n", str(db)]
    if tls:
        words.append("--tls")
    if user:
        words += ["--user", user]
    return shlex.join(words)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
