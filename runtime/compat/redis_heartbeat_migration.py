"""The guide's `redis_heartbeat_migration`: heartbeats from plain, synchronous code."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

from botvisor.actors.backend.directory import Directory
from botvisor.actors.backend.heartbeat_files import HeartbeatFiles
from botvisor.config import Settings, load_settings
from botvisor.errors import StoreUnavailable
from botvisor.logs import Log
from botvisor.store import WriteHeartbeat

from .beat import fields_of, key_of
from .portal import DEADLINE_S, call, settings_in_use

Sender = Callable[[int | str, str, Iterable[str]], None]
Reader = Callable[[int | str], dict[str, Any] | None]


def get_heartbeat_sender() -> Sender | None:
    """Return a function that writes a bot's heartbeat to Redis, or None while there is no Redis.

    Returns:
        ``sender(pid, room_url, participants)``; see `RedisClient.send_heartbeat`. It blocks for 2.5 s at
        most, and keeps to files while Redis is away.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    def send(pid: int | str, room_url: str, participants: Iterable[str]) -> None:
        call(settings, lambda client: client.send_heartbeat(pid, room_url, participants))

    return send


def get_heartbeat_reader() -> Reader | None:
    """Return a function that reads a bot's heartbeat from Redis, or None while there is no Redis.

    Returns:
        ``reader(pid)``; see `RedisClient.get_heartbeat` and `get_heartbeat_sender`.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    def read(pid: int | str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = call(settings, lambda client: client.get_heartbeat(pid))
        return found

    return read


def write_heartbeat_file(pid: int | str, room_url: str, participants: Iterable[str]) -> None:
    """Write a bot's heartbeat to its file, whatever there is of Redis.

    Args:
        pid: the bot's pid or id.
        room_url: the bot's room.
        participants: who is in it.

    Raises:
        TypeError, ValueError: when they are not such.
        StoreError: when it cannot be written, or `BOT_FILE_FALLBACK` is off.
    """
    settings = load_settings()
    if not settings.file_fallback:
        raise StoreUnavailable("there are no files: BOT_FILE_FALLBACK is off")
    key = key_of(pid)
    _files(settings).write(WriteHeartbeat(key, fields_of(key, room_url, participants)))
    Log("file").info("heartbeat", f"Sent heartbeat for bot {key}")


def check_redis_heartbeat_available() -> bool:
    """Return whether Redis is to be used, and answers. It blocks for 2.5 s at most.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    ends_at = time.monotonic() + DEADLINE_S
    settings = settings_in_use()
    if settings is None:
        return False
    try:
        answers: bool = call(settings, lambda client: client.ping(), max(0.0, ends_at - time.monotonic()))
    except StoreUnavailable:
        return False
    return answers


@functools.lru_cache(maxsize=8)
def _files(settings: Settings) -> HeartbeatFiles:
    return HeartbeatFiles(Directory(settings.heartbeat_dir), lambda _level, _text: None)
