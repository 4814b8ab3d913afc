"""Whom a message is for: a bot, or whichever bot serves a room."""

from __future__ import annotations

import functools

from .room import canonical_room
from .store import Queue
from .wire import valid_bot_id


@functools.lru_cache(maxsize=10_000)
def queue_of(target: str, *, lower_path: bool) -> Queue:
    """Return the queue of a bot's id, or of a room's URL.

    Args:
        target: the id or the URL.
        lower_path: whether rooms differ in more than the case of their path.

    Raises:
        ValueError: when it is neither.
    """
    if valid_bot_id(target):
        return Queue("bot", target)
    if "/" in target:
        return Queue("room", canonical_room(target, lower_path=lower_path))
    raise ValueError(f"{target!r} is neither a bot's id (A-Z a-z 0-9 . _ : -) nor a room's URL")


@functools.lru_cache(maxsize=10_000)
def bot_only(target: str) -> str:
    """Return a target that is a bot's id.

    Raises:
        ValueError: when it is none.
    """
    if not valid_bot_id(target):
        raise ValueError(f"a bot id is 1 to 128 of A-Z a-z 0-9 . _ : -, not {target!r}")
    return target
