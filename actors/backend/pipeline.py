"""A pipeline: batches on their way over one byte stream, whose replies come in the order they were sent."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import anyio
import hiredis
from anyio.abc import ByteStream

from botvisor.envelope import Arrival, new_arrival

from .redis_errors import ErrorReply
from .redis_stream import AsyncioStream

_OWED_LIMIT = 1_000  # replies that nobody waits for; with more, a new link is the better one
_CHUNK = 65_536
_NOTHING = object()  # what the reader returns until a reply is whole; None is a reply


class _Batch:
    """One that was sent, or is being sent."""

    __slots__ = ("missing", "replies", "sent_at", "turn", "wanted")

    def __init__(self, count: int, replies: list[Any], sent_at: float) -> None:
        self.missing = count
        self.replies = replies
        self.sent_at = sent_at
        self.turn: Arrival | None = None  # what its owner awaits while another one reads
        self.wanted = True

    def wake(self) -> None:
        if self.turn is not None and not self.turn.done():
            self.turn.set_result(None)


class Pipeline:
    """Sends batches one after the other, and hands each its replies.

    There is no task that reads: the stream pushes what comes, or of those who wait one reads for all. What is
    still owed to one who was cancelled is passed over when it comes.

    Args:
        stream: a byte stream, connected.
    """

    def __init__(self, stream: ByteStream) -> None:
        self.last_byte_at = self._busy_since = time.monotonic()
        self._stream = stream
        self._reader = hiredis.Reader(replyError=ErrorReply, notEnoughData=_NOTHING)
        self._sending = anyio.Lock(fast_acquire=True)
        self._in_flight: deque[_Batch] = deque()
        self._reading = False
        self._error: Exception | None = None
        self._pushing = stream if isinstance(stream, AsyncioStream) else None
        if self._pushing is not None:
            self._pushing.push(self._take_pushed, self.fail)

    @property
    def busy(self) -> bool:
        """Whether replies are still to come."""
        return bool(self._in_flight)

    @property
    def heard(self) -> bool:
        """Whether a byte came since the oldest batch was sent that waits, or else the last one."""
        return self.last_byte_at > self._busy_since

    def quiet_s(self) -> float:
        """Return the seconds since that batch was sent, or since a byte came after that."""
        return time.monotonic() - max(self._busy_since, self.last_byte_at)

    async def exchange(self, data: bytes, count: int, replies: list[Any]) -> None:
        """Send a batch, and add its replies to a list as they come.

        Args:
            data: what is sent.
            count: how many replies there will be.
            replies: the list.

        Raises:
            OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError,
            hiredis.HiredisError: when the stream broke, or brings what is none of the protocol; then it is
                the same for all that are in flight.
        """
        if self._pushing is not None:
            batch = self._begin(count, replies)
            self._write(self._pushing, data)
        else:
            batch = await self._send(data, count, replies)
        try:
            while batch.missing:
                if self._error is not None:
                    raise self._error
                if self._pushing is not None or self._reading:
                    batch.turn = new_arrival()
                    await batch.turn
                else:
                    await self._read(batch)
        except BaseException as error:
            if isinstance(error, Exception):
                self.fail(error)
            else:
                self._leave(batch)
            raise

    def fail(self, error: Exception) -> None:
        """End whatever is in flight, with an error."""
        if self._error is None:
            self._error = error
        for batch in self._in_flight:
            batch.wake()

    @property
    def failed(self) -> bool:
        """Whether nothing more can be sent."""
        return self._error is not None

    def _begin(self, count: int, replies: list[Any]) -> _Batch:
        if self._error is not None:
            raise self._error
        batch = _Batch(count, replies, time.monotonic())
        if not self._in_flight:
            self._busy_since = batch.sent_at
        self._in_flight.append(batch)
        return batch

    def _write(self, stream: AsyncioStream, data: bytes) -> None:
        try:
            stream.write(data)
        except Exception as error:
            self.fail(error)
            raise

    async def _send(self, data: bytes, count: int, replies: list[Any]) -> _Batch:
        async with self._sending:
            batch = self._begin(count, replies)
            try:
                await self._stream.send(data)
            except BaseException as error:
                self.fail(error if isinstance(error, Exception) else anyio.BrokenResourceError())
                raise
        return batch

    async def _read(self, batch: _Batch) -> None:
        """Read for all until a batch is whole."""
        self._reading = True
        try:
            while batch.missing and self._error is None:
                self._take(await self._stream.receive(_CHUNK))
        finally:
            self._reading = False
            self._pass_on()

    def _take_pushed(self, chunk: bytes) -> None:
        try:
            self._take(chunk)
        except hiredis.HiredisError as error:
            self.fail(error)

    def _pass_on(self) -> None:
        """Let another one read, if one waits."""
        for other in self._in_flight:
            if other.wanted and other.turn is not None:
                other.wake()
                return

    def _take(self, chunk: bytes) -> None:
        self.last_byte_at = time.monotonic()
        self._reader.feed(chunk)
        gets, in_flight = self._reader.gets, self._in_flight
        while in_flight:
            batch = in_flight[0]
            append, missing = batch.replies.append if batch.wanted else _drop, batch.missing
            while missing and (reply := gets()) is not _NOTHING:
                append(reply)
                missing -= 1
            batch.missing = missing
            if missing:
                return
            in_flight.popleft()
            if in_flight:
                self._busy_since = in_flight[0].sent_at
            batch.wake()
        if self._reader.has_data():
            raise hiredis.ProtocolError("more replies than commands")

    def _leave(self, batch: _Batch) -> None:
        batch.wanted = False
        if sum(each.missing for each in self._in_flight if not each.wanted) > _OWED_LIMIT:
            self.fail(anyio.BrokenResourceError())
        elif self._pushing is None and not self._reading:
            self._pass_on()  # it may have been its turn


def _drop(_: Any) -> None:
    pass
