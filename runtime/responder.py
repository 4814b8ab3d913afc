"""The responder: answers HTTP requests for a few short texts, and nothing more."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

import anyio
from anyio.abc import SocketStream
from anyio.streams.stapled import MultiListener

HEADER_BYTES = 8_192
LIMIT_S = 5.0  # of one connection
LINGER_S = 0.5
CONNECTIONS = 32

_END = b"\r\n\r\n"
_PLAIN = "text/plain; charset=utf-8"
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)


class Answer(NamedTuple):
    """What a request is answered with.

    Args:
        status: the HTTP status.
        text: the body.
        content_type: the type of the body.
    """

    status: HTTPStatus
    text: str | bytes
    content_type: str = _PLAIN


Respond = Callable[[str], Awaitable[Answer]]
"""Returns the answer to a GET of a path."""


class Responder:
    """A server of HTTP/1.1 in the bot's own event loop, for one GET or HEAD per connection.

    Everything that a stranger could make long is bounded: the header, the time, the number of connections.

    Args:
        respond: returns the answers.
    """

    def __init__(self, respond: Respond) -> None:
        self._respond = respond
        self._connections = 0

    async def serve(self, listener: MultiListener[SocketStream]) -> None:
        """Answer until cancelled."""
        await listener.serve(self._talk)

    async def _talk(self, stream: SocketStream) -> None:
        self._connections += 1
        try:
            with contextlib.suppress(*_GONE):
                async with stream:
                    if self._connections <= CONNECTIONS:
                        with anyio.move_on_after(LIMIT_S):
                            await self._converse(stream)
        finally:
            self._connections -= 1

    async def _converse(self, stream: SocketStream) -> None:
        header = b""
        while _END not in header and len(header) <= HEADER_BYTES:
            header += await stream.receive(HEADER_BYTES)
        method, answer = await self._answer(header)
        await stream.send(_encoded(answer, body=method != "HEAD"))
        await stream.send_eof()
        # To close on what was not read yet would reset the connection, and the answer could be lost with it.
        with anyio.move_on_after(LINGER_S):
            for _ in range(CONNECTIONS):
                await stream.receive()

    async def _answer(self, header: bytes) -> tuple[str, Answer]:
        if _END not in header[: HEADER_BYTES + len(_END)]:
            return "", Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "that header is too long")
        line = header.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(line) != 3 or not line[2].startswith("HTTP/1.") or not line[1].startswith("/"):
            return "", Answer(HTTPStatus.BAD_REQUEST, "that is no request of HTTP/1.1")
        method, path = line[0], line[1].partition("?")[0]
        if method not in ("GET", "HEAD"):
            return method, Answer(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are answered here")
        try:
            return method, await self._respond(path)
        except Exception as error:  # a probe that fails is no reason to answer no other one
            return method, Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")


def _encoded(answer: Answer, *, body: bool) -> bytes:
    content = answer.text if isinstance(answer.text, bytes) else f"{answer.text}\n".encode()
    fields = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields.append("Allow: GET, HEAD")
    return "\r\n".join([*fields, "", ""]).encode() + (content if body else b"")
