"""Server-sent events: what browsers are told as it happens (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from botvisor.fleet.watch import Watch

STREAMS = 200  # open at once; each is a browser's page

_IDLE_S = 15.0  # after which a word is sent, so that nobody takes the connection for dead
_STUCK_S = 60.0  # after which a browser that takes nothing is given up
_IDLE = b": nothing new\n\n"
_RETRY = b"retry: 2000\n\n"


class Streams:
    """Streams of events.

    There is no queue behind a stream: the next event is made of the newest state once the browser has taken
    the last one. So a slow browser misses events, and costs no memory.

    Args:
        watch: looks at the fleet.
        limit: how many may be open at once.
    """

    def __init__(self, watch: Watch, limit: int = STREAMS) -> None:
        self._watch = watch
        self._limit = limit
        self._open = 0

    def fleet(self) -> EventStream | None:
        """Return a stream of the fleet's changes; None when too many are open."""
        return EventStream(self._counted(self._fleet())) if self._open < self._limit else None

    def bot(self, bot_id: str) -> EventStream | None:
        """Return a stream of all about a bot; None when too many are open."""
        return EventStream(self._counted(self._bot(bot_id))) if self._open < self._limit else None

    async def _counted(self, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        self._open += 1
        try:
            async with contextlib.aclosing(events):
                async for event in events:
                    yield event
        finally:
            self._open -= 1

    async def _fleet(self) -> AsyncGenerator[bytes, None]:
        board, seen = self._watch.board, None
        while not self._watch.closed:
            news = self._watch.news
            if seen != board.version:
                changes, seen = board.changes(seen), board.version
                yield format_event("fleet", changes)
            elif not await _heard(news):
                yield _IDLE

    async def _bot(self, bot_id: str) -> AsyncGenerator[bytes, None]:
        seen: object = None
        with self._watch.watching(bot_id):
            while not self._watch.closed:
                news = self._watch.news
                if seen != self._watch.edition(bot_id):
                    details = await self._watch.details(bot_id)
                    seen = self._watch.edition(bot_id)  # what has changed while they were read is among them
                    yield format_event("bot", msgspec.json.encode(details))
                elif not await _heard(news):
                    yield _IDLE


class EventStream(Response):
    """An answer that goes on until its events end, or the browser has left.

    Args:
        events: makes them.
    """

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] != "HEAD":
            async with anyio.create_task_group() as group:
                group.start_soon(_until_gone, receive, group.cancel_scope)
                async with contextlib.aclosing(self._events) as events:
                    await _send_all(events, send)
                group.cancel_scope.cancel()
        await send({"type": "http.response.body"})


def format_event(name: str, document: bytes) -> bytes:
    """Return an event.

    Args:
        name: its name.
        document: JSON in one line.
    """
    return b"event: " + name.encode() + b"\ndata: " + document + b"\n\n"


async def _send_all(events: AsyncGenerator[bytes, None], send: Send) -> None:
    await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
    async for event in events:
        with anyio.move_on_after(_STUCK_S) as sending:
            await send({"type": "http.response.body", "body": event, "more_body": True})
        if sending.cancelled_caught:
            return


async def _until_gone(receive: Receive, stream: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.cancel()


async def _heard(news: anyio.Event) -> bool:
    with anyio.move_on_after(_IDLE_S):
        await news.wait()
        return True
    return False
