"""The operations on Redis that contenders carry out, and what they write: the original's keys and fields."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Protocol

ROOM = "https://example.test/rooms/bench"
PARTICIPANTS = ("ann", "bob")
DATA = {"sessionUserId": "u-1", "sessionUserName": "Ann", "sessionUserEmail": "ann@example.test"}
TEXT = "hello"
FIRST_PID = 10_000

HEARTBEAT_TTL_S = 30
IDENTITY_TTL_S = 86_400
ADMIN_TTL_S = 3600


class Contender(Protocol):
    """Carries operations out. A pid stands for a bot, and for a participant of its room."""

    async def heartbeat(self, pid: int) -> None: ...

    async def write_identity(self, pid: int) -> None: ...

    async def read_identity(self, pid: int) -> None: ...

    async def send(self, pid: int) -> None: ...


Operation = Callable[[int], Awaitable[None]]
KINDS = ("heartbeat", "write_identity", "read_identity", "send")


def operations_of(contender: Contender) -> list[Operation]:
    """Return its operations, one of each kind."""
    return [getattr(contender, kind) for kind in KINDS]


def now() -> str:
    return datetime.now(UTC).isoformat()


def heartbeat_key(pid: int) -> str:
    return f"heartbeat:{pid}"


def identity_key(pid: int) -> str:
    return f"identity:{ROOM}:{pid}"


def queue_key(pid: int) -> str:
    return f"admin:queue:{pid}"


def channel(pid: int) -> str:
    return f"admin:bot:{pid}"


def heartbeat_fields(pid: int) -> dict[str, str]:
    people = json.dumps(PARTICIPANTS)
    return {"pid": str(pid), "room_url": ROOM, "participants": people, "timestamp": now()}


def identity_fields(pid: int) -> dict[str, str]:
    return {"participant_id": str(pid), "room_url": ROOM, "timestamp": now(), "data": json.dumps(DATA)}


def check_identity(fields: dict[bytes, bytes]) -> None:
    """See that an identity was read, as its reader would.

    Raises:
        AssertionError: when it was not.
    """
    if json.loads(fields[b"data"])["sessionUserName"] != DATA["sessionUserName"]:
        raise AssertionError(fields)


def admin_message() -> str:
    fields: dict[str, Any] = {"type": "admin_message", "message": TEXT, "room_url": "", "timestamp": now()}
    return json.dumps(fields)
