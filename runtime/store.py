"""The store protocol: commands in, results out.

Callers build commands from values that are encoded already, so that a bad value fails its caller alone.
A store is handed a batch and answers each command with its result or an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from .identity import Identity
from .process import Owner

QueueKind = Literal["bot", "room", "pre-spawn"]
StoreName = Literal["", "redis", "file"]


class Queue(msgspec.Struct, frozen=True):
    """A queue of admin messages.

    Args:
        kind: whose queue it is.
        key: the bot's id, the room's URL (raw or canonical), or for pre-spawn the canonical room.
        store: which of two stores behind a failover is meant; empty leaves it to the failover, which sends to
            where the queue is served.
    """

    kind: QueueKind
    key: str
    store: StoreName = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Command(msgspec.Struct, frozen=True, gc=False):
    """The base of all commands: of such values that they can be in no cycle."""


class QueueCommand(Command, frozen=True, gc=False):
    """The base of all commands about a queue.

    Args:
        queue: the queue.
    """

    queue: Queue


class WriteHeartbeat(Command, frozen=True):
    """Write a heartbeat (`botvisor.heartbeat.to_hash`), replacing the bot's last. Result: None."""

    bot_id: str
    fields: dict[str, bytes]


class ReadHeartbeat(Command, frozen=True):
    """Read a bot's last heartbeat; if it must be `living`, one that has not ended. Result: it, or None."""

    bot_id: str
    living: bool = False


class ListHeartbeats(Command, frozen=True):
    """Read every heartbeat there is, the stopped and the lost included. Result: list of `Heartbeat`."""


class WriteIdentity(Command, frozen=True):
    """Write an identity, unless the stored one has a later `(updated_ms, writer)`. Result: None."""

    identity: Identity


class ReadIdentity(Command, frozen=True):
    """Read an identity. Result: `Identity` or None."""

    room_url: str
    participant_id: str


class ListIdentities(Command, frozen=True):
    """Read every identity of a room. Result: list of `Identity`."""

    room_url: str


class CleanUpIdentities(Command, frozen=True):
    """Remove what has expired of a room's identities. Result: how many entries were removed."""

    room_url: str


class PushMessage(QueueCommand, frozen=True):
    """Put a message at a queue's tail. Result: ``redis``, ``spool@host``, `Spooled`: where it is stored.

    Args:
        message_id: its id.
        raw: its bytes.
        durable: leave a mark beside it that shows that this store still knows it; see `IsKept`.
        elsewhere: while Redis is away, take this host's spool also for who is not served on this host.
        forwarded: Redis has it: the spool keeps it for a bot that does not look there, until Redis knows that
            it was handled.
    """

    message_id: str
    raw: bytes
    durable: bool = False
    elsewhere: bool = True
    forwarded: bool = False


class IsKept(QueueCommand, frozen=True):
    """Tell whether a store still has the mark of a durable message. Result: bool."""

    message_id: str


class IsServed(QueueCommand, frozen=True):
    """Tell whether a bot seems to serve a queue: by a lease or a fresh heartbeat. Result: bool."""


class Broadcast(Command, frozen=True):
    """Send a message to every bot that listens just now, best effort. Result: how many connections got it."""

    raw: bytes


class Past(msgspec.Struct, frozen=True):
    """What became of a queue's messages lately; ids stand there by their `botvisor.wire.id_digest`.

    Args:
        handled: were handled.
        dead: were given up.
        in_flight: was claimed by somebody else than who asks, and perhaps shown; empty if there is none.
    """

    handled: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    in_flight: str = ""


class ReadPast(QueueCommand, frozen=True):
    """Read what became of a queue's messages, its newest 10,000, lease or not. Result: `Past`.

    Args:
        instance: who asks.
    """

    instance: str


class AcquireLease(QueueCommand, frozen=True):
    """Acquire or renew the lease of a queue. Result: None when it is ours, else the `Owner` that holds it."""

    owner: Owner


class ReleaseLease(QueueCommand, frozen=True):
    """Give a lease up, if it is still ours. Result: None."""

    instance: str


class Done(msgspec.Struct, frozen=True):
    """A message that was handled: what its claim's token was, and its id."""

    token: str
    message_id: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The one message in flight of a queue.

    Args:
        token: names this claim; acknowledge by token, never by value.
        raw: the message's bytes.
        name: its id if it holds none.
        tries: how often it has been claimed, this time included.
        source: ``redis``, ``file`` or ``memory``.
        stored_at: when it was stored, in seconds since the epoch.
        done: its id is recorded as handled: it is a duplicate.
        doubtful: it may have been shown before although tries is 1 (the machine lost power since).
    """

    token: str
    raw: bytes
    name: str
    tries: int
    source: str
    stored_at: float
    done: bool = False
    doubtful: bool = False


class NextMessage(QueueCommand, frozen=True):
    """Acknowledge the message in flight, if `done` is given, and claim the queue's next one.

    The acknowledged entry leaves the queue and its id is recorded, in one step. A message that is still in
    flight is returned again, with one more try if `attempt` differs from its last. Repeating the command is
    harmless. Result: `Claim`, or None when nothing waits (or `take` is false). Error: `LeaseLost`.

    Args:
        instance: who asks; it must hold the queue's lease.
        attempt: names the incarnation of the reader that will be shown the message.
        done: what to acknowledge first.
        take: whether to claim a next one.
    """

    instance: str
    attempt: str
    done: Done | None = None
    take: bool = True


class ReturnMessage(QueueCommand, frozen=True):
    """Put a message in flight that nobody was shown back at the queue's head. Result: None."""

    instance: str
    token: str


class BuryMessage(QueueCommand, frozen=True):
    """Give the message in flight up: a dead letter, or quarantine when it is malformed. Result: None."""

    instance: str
    token: str
    reason: str
    malformed: bool = False


MessageState = Literal["stored", "delivered", "handled", "dead", "unknown"]


class ReadReceipt(QueueCommand, frozen=True):
    """Tell how far a message has come. Result: a `MessageState`."""

    message_id: str


class QueuedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that waits, is in flight, or was given up; `entry` names it in its store, for operators."""

    raw: bytes
    name: str
    state: MessageState
    tries: int = 0
    reason: str = ""
    stored_at: float = 0.0
    store: StoreName = ""
    entry: str = ""


class ListMessages(QueueCommand, frozen=True):
    """Read what a queue holds, without taking anything. Result: list of `QueuedMessage`, oldest first."""


class PushControl(Command, frozen=True):
    """Send a control object to a bot. Result: None.

    Args:
        bot_id: the bot.
        control_id: its id.
        raw: its bytes.
        elsewhere, forwarded: see `PushMessage`.
    """

    bot_id: str
    control_id: str
    raw: bytes
    elsewhere: bool = True
    forwarded: bool = False


class TakeControl(Command, frozen=True):
    """Take every control object that waits for a bot. Result: list of bytes, oldest first."""

    bot_id: str


class Sweep(Command, frozen=True):
    """Delete what has expired. Result: how many files or entries were deleted."""


class Store(Protocol):
    """Where heartbeats, identities and admin messages are kept."""

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch, in order.

        Args:
            commands: the batch.

        Returns:
            For each command its result, or the exception that it ended with (a `StoreError` where it is
            expected). The method itself raises only when it is cancelled.
        """
        ...
