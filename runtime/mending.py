"""What operators ask a store for: to look behind it, and to mend by hand what is in it."""

from __future__ import annotations

from typing import Any

import msgspec

from .store import Command, QueueCommand


class RequeueMessage(QueueCommand, frozen=True):
    """Put a dead letter back at its queue's tail. Result: whether it was there.

    Error: `StoreError` when it is too large to be claimed.

    Args:
        entry: the letter; see `QueuedMessage`.
        message_id: what it is known by.
        raw: its bytes as they are to be delivered, marked as a repeat.
    """

    entry: str
    message_id: str
    raw: bytes


class DropMessage(QueueCommand, frozen=True):
    """Delete a message that waits, or was given up. Result: whether it was there.

    Args:
        entry: the message; see `QueuedMessage`.
    """

    entry: str


class Dump(msgspec.Struct, frozen=True):
    """The stack that a process of this host has left because its event loop stood still.

    Args:
        bot_id: its first bot.
        text: what faulthandler wrote.
        written_at: when, in seconds since the epoch.
    """

    bot_id: str
    text: str
    written_at: float


class ListDumps(Command, frozen=True):
    """Read the stack dumps of this host. Result: list of `Dump`, none where there are no files."""


class ForgetBot(Command, frozen=True):
    """Delete what is left of a bot that ended: heartbeat, last words, dump. Result: whether it was there.

    A later start of the same bot keeps what it wrote.

    Args:
        bot_id: the bot.
        instance: which start of it is meant; empty for an older program's.
    """

    bot_id: str
    instance: str


class ReadFacts(Command, frozen=True):
    """Ask a store what it is and how it does. Result: dict, its keys named where each store makes it."""


Facts = dict[str, Any]
