"""hiredis on a bare asyncio connection: as fast as Python can be, with no reconnect, deadline or fail-over.

What callers want in one step of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import hiredis

from .operations import (
    ADMIN_TTL_S,
    HEARTBEAT_TTL_S,
    IDENTITY_TTL_S,
    ROOM,
    admin_message,
    channel,
    check_identity,
    heartbeat_fields,
    heartbeat_key,
    identity_fields,
    identity_key,
    queue_key,
)

LIMIT = "bare hiredis"
SAME_LIMIT = "bare hiredis, our commands"

_NOTHING = object()
_INDEX = f"identity-index:{ROOM}"
_ALIVE = "bots:alive"
_MORE_OF_A_HEARTBEAT = {"v": "1", "status": "healthy", "epitaph": "null"}


class Bare(asyncio.Protocol):
    """The original's commands. Get one from `open`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._parts: list[bytes] = []
        self._waiting: deque[tuple[asyncio.Future[list[Any]], int]] = deque()
        self._replies: list[Any] = []
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, port: int) -> Bare:
        """Connect to a server on this machine."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, replies = self._reader.gets, self._replies
        while (reply := gets()) is not _NOTHING:
            if isinstance(reply, Exception):
                raise reply
            replies.append(reply)
            while self._waiting and len(replies) >= self._waiting[0][1]:
                answer, count = self._waiting.popleft()
                answer.set_result(replies[:count])
                del replies[:count]

    def ask(self, *commands: tuple[Any, ...]) -> asyncio.Future[list[Any]]:
        """Send commands with the next write; the result is their replies."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts += [hiredis.pack_command(command) for command in commands]
        answer = self._loop.create_future()
        self._waiting.append((answer, len(commands)))
        return answer

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        self._transport.write(b"".join(parts))

    async def heartbeat(self, pid: int) -> None:
        key = heartbeat_key(pid)
        await self.ask(("HSET", key, *_flat(heartbeat_fields(pid))), ("EXPIRE", key, HEARTBEAT_TTL_S))

    async def write_identity(self, pid: int) -> None:
        key = identity_key(pid)
        await self.ask(("HSET", key, *_flat(identity_fields(pid))), ("EXPIRE", key, IDENTITY_TTL_S))

    async def read_identity(self, pid: int) -> None:
        (reply,) = await self.ask(("HGETALL", identity_key(pid)))
        parts = iter(reply)
        check_identity(dict(zip(parts, parts, strict=True)))

    async def send(self, pid: int) -> None:
        key, message = queue_key(pid), admin_message()
        await self.ask(
            ("RPUSH", key, message), ("EXPIRE", key, ADMIN_TTL_S), ("PUBLISH", channel(pid), message)
        )


class SameCommands(Bare):
    """The commands that botvisor sends: with its indexes and bells, and each write a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self._batch: list[tuple[asyncio.Future[list[Any]], int]] = []
        self._batches: deque[tuple[list[tuple[asyncio.Future[list[Any]], int]], int]] = deque()
        self._once: set[tuple[Any, ...]] = set()

    def ask(self, *commands: tuple[Any, ...]) -> asyncio.Future[list[Any]]:
        if not self._batch:
            self._loop.call_soon(self._flush)
        self._parts += [hiredis.pack_command(command) for command in commands]
        answer = self._loop.create_future()
        self._batch.append((answer, len(commands)))
        return answer

    def ask_once(self, command: tuple[Any, ...]) -> None:
        """Send a command at the end of the next write, once for all who want it."""
        self._once.add(command)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        parts = [_MULTI, *self._parts, *map(hiredis.pack_command, self._once), _EXEC]
        self._batches.append((batch, sum(count for _, count in batch) + len(self._once) + 2))
        self._once.clear()
        self._parts = []
        self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, replies = self._reader.gets, self._replies
        while (reply := gets()) is not _NOTHING:
            replies.append(reply)
            batch, count = self._batches[0]
            if len(replies) < count:
                continue
            if isinstance(reply, Exception):
                raise reply
            self._batches.popleft()
            replies.clear()
            start = 0
            for answer, wanted in batch:
                answer.set_result(reply[start : start + wanted])
                start += wanted

    async def heartbeat(self, pid: int) -> None:
        key = heartbeat_key(pid)
        fields = _flat(heartbeat_fields(pid) | _MORE_OF_A_HEARTBEAT | {"bot_id": str(pid)})
        self.ask_once(("EXPIRE", _ALIVE, IDENTITY_TTL_S))
        await self.ask(
            ("HSET", key, *fields),
            ("EXPIRE", key, HEARTBEAT_TTL_S),
            ("ZADD", _ALIVE, int(time.time() * 1000) + HEARTBEAT_TTL_S * 1000, pid),
        )

    async def write_identity(self, pid: int) -> None:
        key, now_ms = identity_key(pid), int(time.time() * 1000)
        fields = _flat(identity_fields(pid) | {"updated_ms": str(now_ms), "writer": "bench"})
        self.ask_once(("EXPIRE", _INDEX, IDENTITY_TTL_S))
        await self.ask(
            ("HSET", key, *fields),
            ("EXPIRE", key, IDENTITY_TTL_S),
            ("ZADD", _INDEX, now_ms + IDENTITY_TTL_S * 1000, pid),
            ("PUBLISH", f"identity-changed:{ROOM}", pid),
        )


_MULTI, _EXEC = hiredis.pack_command(("MULTI",)), hiredis.pack_command(("EXEC",))


def _flat(fields: dict[str, str]) -> list[str]:
    return [part for field in fields.items() for part in field]
