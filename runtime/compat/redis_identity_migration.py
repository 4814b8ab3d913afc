"""The guide's `redis_identity_migration`: identities from plain, synchronous code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .portal import call, settings_in_use

Writer = Callable[[str, str, Mapping[str, Any]], None]
Scanner = Callable[[str], list[dict[str, Any]]]


def get_identity_writer() -> Writer | None:
    """Return a function that shares what is known of a participant, or None while there is no Redis.

    Returns:
        ``writer(room_url, participant_id, data)``; see `RedisClient.write_identity`. It blocks for 2.5 s at
        most, and keeps to files while Redis is away.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    def write(room_url: str, participant_id: str, data: Mapping[str, Any]) -> None:
        call(settings, lambda client: client.write_identity(room_url, participant_id, data))

    return write


def get_identity_scanner() -> Scanner | None:
    """Return a function that reads everybody of a room, or None while there is no Redis.

    Returns:
        ``scanner(room_url)``; see `RedisClient.scan_identities` and `get_identity_writer`.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    def scan(room_url: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = call(settings, lambda client: client.scan_identities(room_url))
        return found

    return scan
