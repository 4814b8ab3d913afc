"""The lines of the ledgers. Times are seconds of the monotonic clock, which all processes of a host share."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, tag=str.lower, tag_field="what"):
    """The base of all lines."""


class Started(Record, frozen=True, kw_only=True):
    """`main` of a bot began."""

    bot: str
    bot_id: str
    pid: int
    at: float


class Handled(Record, frozen=True, kw_only=True):
    """`main` got a message, and is about to ask for the next one."""

    id: str
    bot: str
    bot_id: str
    pid: int
    at: float
    redelivered: bool
    tries: int
    source: str


class Accepted(Record, frozen=True, kw_only=True):
    """A sender was told that its message is stored. `state` is the receipt's when this was written down."""

    id: str
    sender: str
    target: str
    began: float
    at: float
    where: str
    durable: bool
    state: str
    older: bool = False


class Refused(Record, frozen=True, kw_only=True):
    """A sender was told that its message is not stored, or was told nothing: it may or may not arrive."""

    sender: str
    target: str
    began: float
    at: float
    reason: str
    older: bool = False


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """What an observer made of a heartbeat."""

    pid: int
    status: str
    age: float


class Seen(Record, frozen=True, kw_only=True):
    """An observer's look at the fleet.

    Args:
        began: when it asked.
        at: when it was answered.
        bots: what it saw, by the bots' ids.
        problem: why it saw nothing.
        away: why Redis is not used, if the client said so before or after: it sees this host's files alone.
    """

    began: float
    at: float
    bots: dict[str, Beat] = {}
    problem: str = ""
    away: str = ""


class Struck(Record, frozen=True, kw_only=True):
    """A fault: when it was planned, when it came and when it was over."""

    number: int
    kind: str
    target: str
    how: str
    planned: float
    at: float
    healed: float


class Ended(Record, frozen=True, kw_only=True):
    """A process ended although nobody had told it to, or ended otherwise than it should."""

    name: str
    code: int | None
    at: float


class Rest(Record, frozen=True, kw_only=True):
    """What the queues held at the very end: the ids of messages that wait, and of those given up."""

    at: float
    waiting: list[str]
    dead: list[str]


class Clock(Record, frozen=True, kw_only=True):
    """When the faults began, by the monotonic clock and by the wall's."""

    at: float
    wall: float


AnyRecord = Started | Handled | Accepted | Refused | Seen | Struck | Ended | Rest | Clock
