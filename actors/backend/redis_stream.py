"""The byte stream under a link: connecting it, and saying why it broke."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from botvisor.tasks import on_trio

from .redis_endpoint import Endpoint
from .redis_errors import LinkLost, TLSRefused

# The kernel notices within 30 s that a connection died silently: idle, and three probes.
KEEPALIVE_IDLE_S = 15
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3

_NEXT_ADDRESS_S = 0.25  # then a host's next address is tried as well
_CHUNKS = 16  # that wait to be received; with as many, reading pauses

_ERRNO = re.compile(r"\[Errno (\d+)\]")

LOST = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a stream raises when it is broken or closed."""


class AsyncioStream(asyncio.Protocol, ByteStream):
    """A connection over TCP or a unix socket, on asyncio.

    anyio's own stops and starts reading with each chunk, and turns the event loop once more with each write.
    This one never waits in `send`: it is for a protocol with few requests on their way at once. And it can
    `push` what comes, which spares a turn of the event loop once more.
    """

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._closed = False
        self._on_data: Callable[[bytes], None] | None = None
        self._on_end: Callable[[Exception], None] | None = None

    def push(self, on_data: Callable[[bytes], None], on_end: Callable[[Exception], None]) -> None:
        """Hand over what comes, as it comes; from now on, until `pull`, nobody is to `receive`.

        Args:
            on_data: given the data, in no task; it must neither block nor raise.
            on_end: told once why nothing more will come; the same.
        """
        self._on_data, self._on_end = on_data, on_end
        while self._chunks:
            on_data(self._chunks.popleft())
        if self._lost is not None:
            on_end(self._lost)

    def pull(self) -> None:
        """Hand nothing over any more: `receive` it."""
        self._on_data = self._on_end = None

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Lets `extra` find the socket."""
        return {SocketAttribute.raw_socket: lambda: self._transport.get_extra_info("socket")}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._on_data is not None:
            self._on_data(data)
            return
        self._chunks.append(data)
        if len(self._chunks) >= _CHUNKS:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        ended = anyio.ClosedResourceError() if self._closed else anyio.EndOfStream()
        self._lost = ended if exc is None else exc
        self._wake()
        if self._on_end is not None:
            self._on_end(self._lost)

    async def send(self, item: bytes) -> None:
        """See `write`."""
        self.write(item)

    def write(self, item: bytes) -> None:
        """Send data; what the kernel does not take at once follows by itself."""
        if self._transport.is_closing():
            raise anyio.ClosedResourceError if self._closed else anyio.BrokenResourceError
        self._transport.write(item)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Wait for data; `max_bytes` is taken for a wish."""
        while not self._chunks:
            if self._closed:
                raise anyio.ClosedResourceError
            if self._lost is not None:
                raise self._lost
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        if len(self._chunks) >= _CHUNKS:
            self._transport.resume_reading()
        return self._chunks.popleft()

    async def send_eof(self) -> None:
        """Send no more."""
        self._transport.write_eof()

    async def aclose(self) -> None:
        """Close the connection at once."""
        self._closed = True
        self._transport.abort()
        self._wake()
        await anyio.lowlevel.checkpoint()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


async def connect(endpoint: Endpoint) -> ByteStream:
    """Connect to a server: over TCP, TLS or a unix socket.

    Args:
        endpoint: where; Sentinels must have been asked already.

    Raises:
        LinkLost: when the connection fails; `TLSRefused` when it is TLS that fails.
        EndpointUnusable: when a certificate cannot be read.
    """
    stream: ByteStream
    try:
        stream = await (_connect_by_anyio(endpoint) if on_trio() else _connect_by_asyncio(endpoint))
    except (OSError, UnicodeError) as error:  # the latter: a host's name that can be none
        raise LinkLost(endpoint.address, reason_of(error)) from error
    if endpoint.path is not None:
        return stream
    try:
        _tune(stream)
        if endpoint.tls is not None:
            context = await anyio.to_thread.run_sync(endpoint.tls.context, abandon_on_cancel=True)
            hostname = endpoint.tls.server_name or endpoint.host
            stream = await TLSStream.wrap(
                stream, ssl_context=context, hostname=hostname, server_side=False, standard_compatible=False
            )
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, ssl.SSLError):
            raise TLSRefused(endpoint.address, reason_of(error)) from error
        if isinstance(error, LOST):
            raise LinkLost(endpoint.address, reason_of(error)) from error
        raise
    return stream


async def _connect_by_anyio(endpoint: Endpoint) -> ByteStream:
    if endpoint.path is not None:
        return await anyio.connect_unix(endpoint.path)
    return await anyio.connect_tcp(endpoint.host, endpoint.port)


async def _connect_by_asyncio(endpoint: Endpoint) -> ByteStream:
    loop = asyncio.get_running_loop()
    if endpoint.path is not None:
        _, stream = await loop.create_unix_connection(AsyncioStream, endpoint.path)
        return stream
    options: dict[str, Any] = {}
    if isinstance(loop, asyncio.BaseEventLoop):  # RFC 8305; uvloop has none of it
        options["happy_eyeballs_delay"] = _NEXT_ADDRESS_S
    _, stream = await loop.create_connection(AsyncioStream, endpoint.host, endpoint.port, **options)
    return stream


def _tune(stream: ByteStream) -> None:
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no Django here
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Where the system calls them otherwise, its defaults hold.
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def reason_of(error: BaseException) -> str:
    """Return why a connection failed, in the operating system's words where there are some."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(error.exceptions[0])
    if isinstance(error, anyio.EndOfStream):
        return "the server closed the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown host"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if error.__cause__ is not None:
        return reason_of(error.__cause__)
    if numbers := _ERRNO.findall(str(error)):  # asyncio's text of what went wrong with each address
        return os.strerror(int(numbers[0]))
    return str(error) or "the connection broke"
