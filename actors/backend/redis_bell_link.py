"""A link that listens: one connection for all channels, which notices by itself that nobody is there.

On RESP2 a subscribed connection takes (UN)SUBSCRIBE and PING alone (redis.io, "Redis Pub/Sub"). Its answers
come in the order of what was asked, with the messages in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import hiredis
from anyio.abc import ByteStream

from botvisor.wire import MAX_MESSAGE_BYTES

from .link import Link
from .redis_errors import ErrorReply, LinkLost
from .redis_stream import LOST, AsyncioStream, reason_of

PING_EVERY_S = 1.0
DEADLINE_S = 3.0

# So many PINGs without a byte, and the time for another one: nothing came for the deadline, or nearly.
_UNANSWERED = round(DEADLINE_S / PING_EVERY_S) - 1
# Whoever may publish can publish 512 MB. What does not end by here is not worth the memory.
_LARGEST = 8 * MAX_MESSAGE_BYTES
_CHUNK = 65_536
_NOTHING = object()
_ENDS = (*LOST, anyio.BusyResourceError, hiredis.HiredisError)
_pack: Any = hiredis.pack_command  # typed upstream as if a command were one word


class BellLink(Link):
    """A connection that is logged in and can listen. Get one from `open`.

    Each channel is asked for with a command of its own: one that the server forbids costs no other.

    Args:
        stream: a byte stream, connected.
        address: the server's address, for people.
    """

    def __init__(self, stream: ByteStream, address: str) -> None:
        super().__init__(stream, address)
        self.lost = ""
        """Why listening ended, in words."""
        self._pushes = hiredis.Reader(replyError=ErrorReply, notEnoughData=_NOTHING)
        self._unread = 0  # bytes that came since a reply was whole
        self._unsent: list[bytes] = []
        self._asked: deque[bytes | None] = deque()  # what is to be answered: a channel, or None for the rest
        self._unanswered = 0  # PINGs since a byte came
        self._wake = anyio.Event()

    def subscribe(self, channel: bytes) -> None:
        """Ask for a channel, as soon as the link listens."""
        self._ask(channel, b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Give a channel up."""
        self._ask(None, b"UNSUBSCRIBE", channel)

    async def listen(
        self,
        *,
        on_message: Callable[[bytes, bytes], None],
        on_subscribed: Callable[[bytes], None],
        on_refused: Callable[[bytes, ErrorReply], None],
    ) -> None:
        """Listen until the connection is lost, or nothing came for three seconds; then it is closed.

        A loop that was blocked meanwhile loses nothing: PINGs are counted that were really sent.

        Args:
            on_message: told of each message: its channel and its payload.
            on_subscribed: told of each channel once the server has confirmed it.
            on_refused: told of each channel that the server does not give us, and why.
        """

        def answered(reply: Any) -> None:
            if isinstance(reply, list) and len(reply) == 3 and reply[0] == b"message":
                on_message(reply[1], reply[2])
                return
            if not self._asked:
                raise LinkLost(self.address, "an answer that nobody asked for")
            channel = self._asked.popleft()
            if channel is not None and isinstance(reply, ErrorReply):
                on_refused(channel, reply)
            elif channel is not None:
                on_subscribed(channel)

        async def read() -> None:
            await self._read(answered)

        if isinstance(self._stream, AsyncioStream):
            self._stream.pull()  # who is told may want a task round him
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_lost, read, group.cancel_scope)
                await self._until_lost(self._write, group.cancel_scope)
        finally:
            await self.aclose()

    def _ask(self, channel: bytes | None, *command: bytes) -> None:
        self._unsent.append(_pack(command))
        self._asked.append(channel)
        self._wake.set()

    async def _until_lost(self, work: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        try:
            await work()
        except _ENDS as error:
            self.lost = self.lost or (error.reason if isinstance(error, LinkLost) else reason_of(error))
        scope.cancel()

    async def _read(self, answered: Callable[[Any], None]) -> None:
        while True:
            chunk = await self._stream.receive(_CHUNK)
            self._unanswered = 0
            self._unread += len(chunk)
            self._pushes.feed(chunk)
            while (reply := self._pushes.gets()) is not _NOTHING:
                self._unread = 0
                answered(reply)
            if self._unread > _LARGEST:
                raise LinkLost(self.address, f"somebody published more than {_LARGEST} bytes")

    async def _write(self) -> None:
        ping_at = anyio.current_time()
        while True:
            self._wake = anyio.Event()  # what is asked for while this is sent wakes the next round
            now = anyio.current_time()
            if now >= ping_at:
                if self._unanswered >= _UNANSWERED:
                    raise LinkLost(self.address, f"no answer for {DEADLINE_S:g} s")
                self._unanswered += 1
                ping_at = now + PING_EVERY_S
                self._unsent.append(_pack((b"PING",)))
                self._asked.append(None)
            if self._unsent:
                data = b"".join(self._unsent)
                self._unsent.clear()
                with anyio.fail_after(DEADLINE_S):
                    await self._stream.send(data)
                continue
            with anyio.move_on_after(ping_at - now):
                await self._wake.wait()
