"""A TCP proxy that does to a connection what networks do: it delays, falls silent, cuts, loses replies."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Literal

import anyio
from anyio.abc import ByteStream, ObjectReceiveStream, ObjectSendStream
from anyio.streams.tls import TLSStream

from .tcp_stream import TCPListener, TCPStream

Mode = Literal["pass", "delay", "trickle", "blackhole", "refuse"]

_ENDED = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_CHUNKS = 64  # of 64 KiB, under way to a client
_LONGEST = 1024


class _Connection:
    """A client's connection, and what ends it."""

    def __init__(self, client: TCPStream) -> None:
        self.scope = anyio.CancelScope()
        self.stranded = False
        self.dropped: anyio.Event | None = None  # set when the reply that is to be lost has come
        self._client = client
        self._seen = b""

    def reset(self) -> None:
        self._client.reset_on_close()
        self.scope.cancel()

    def count(self, request: bytes, chunk: bytes) -> int:
        """Return how often the bytes of a request end in a chunk, begun in an earlier one or not."""
        return (self._seen + chunk).count(request, max(len(self._seen) - len(request) + 1, 0))

    def see(self, chunk: bytes) -> None:
        self._seen = (self._seen + chunk)[1 - _LONGEST :]


class _Drop:
    """A reply that is to be lost: that of the n-th request from now on."""

    def __init__(self, request: bytes, nth: int) -> None:
        self.request = request
        self.left = nth
        self.dropped = anyio.Event()


class ChaosProxy:
    """A proxy before a server. Get a running one from `open_proxy`.

    It passes everything on until it is told otherwise; then the new mode holds at once, for the connections
    there are and for those to come. What holds bytes up keeps them in their order and loses none. When
    either side hangs up, so does the proxy on the other.

    Args:
        port: the server's port.
        host: the server's address.
        tls: what it needs to speak TLS to its clients; to the server it speaks none.

    Attributes:
        host: the address it listens on.
        accepted: how many connections it has taken since it began.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.host = "127.0.0.1"
        self.accepted: int = 0
        self._listener = TCPListener(self.host)
        self._target = (host, port)
        self._tls = tls
        self._mode: Mode = "pass"
        self._pause_s = 0.0
        self._changed = anyio.Event()
        self._connections: set[_Connection] = set()
        self._drops: list[_Drop] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._listener.port

    @property
    def mode(self) -> Mode:
        """What it does now: ``pass``, ``delay``, ``trickle``, ``blackhole`` or ``refuse``."""
        return self._mode

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def pass_on(self) -> None:
        """Pass on what comes, and all that was held up, also what a client sent that is gone by now."""
        for connection in self._connections:
            connection.stranded = False
        self._switch("pass")

    def delay(self, seconds: float) -> None:
        """Hand each reply on so many seconds after the server gave it."""
        self._switch("delay", seconds)

    def trickle(self, seconds: float) -> None:
        """Hand replies on byte by byte, with so many seconds between two of them."""
        self._switch("trickle", seconds)

    def blackhole(self) -> None:
        """Take connections and bytes, pass nothing on and say nothing, as behind a router that died.

        An end is not passed on either: the server keeps a connection that its client has long given up.
        """
        self._switch("blackhole")

    def strand(self) -> None:
        """Treat so the connections that are open, and none that come later, as a router that forgot them.

        The mode stays; `pass_on` ends it.
        """
        for connection in self._connections:
            connection.stranded = True

    def refuse(self) -> None:
        """Cut what is open, and each new connection as soon as it is there, with a RST."""
        self._switch("refuse")
        self.reset()

    def reset(self) -> None:
        """Cut every connection that is open, once, with a RST. The mode stays."""
        for connection in self._connections:
            connection.reset()

    def lead_to(self, port: int, *, host: str = "127.0.0.1") -> None:
        """Lead the connections to come to another server, as an address that is moved does.

        Args:
            port: its port.
            host: its address.
        """
        self._target = (host, port)

    def drop_reply(self, request: bytes, *, nth: int = 1) -> anyio.Event:
        """Let the server carry a request out, but lose its reply: discard it and cut that connection.

        It is meant for clients that wait for one reply before they ask for the next: whatever the server
        sends after the request, the first of it is taken for the reply.

        Args:
            request: bytes that the request has in it, at most 1,024; such as a command's name or a key.
            nth: which of the requests with these bytes from now on, over all connections. Bytes that occur
                twice in one request count as two.

        Returns:
            What is set when the reply has been lost. After that everything goes on as before.

        Raises:
            ValueError: when there is nothing to look for, or too much, or `nth` is less than 1.
        """
        if not 0 < len(request) <= _LONGEST or nth < 1:
            raise ValueError("a request has 1 to 1,024 bytes to look for, and nth is 1 or more")
        self._drops.append(_Drop(request, nth))
        return self._drops[-1].dropped

    def _switch(self, mode: Mode, pause_s: float = 0.0) -> None:
        if pause_s < 0:
            raise ValueError("a pause has no negative length")
        self._mode, self._pause_s = mode, pause_s
        self._changed.set()
        self._changed = anyio.Event()

    async def _run(self) -> None:
        async with anyio.create_task_group() as group:
            while True:
                group.start_soon(self._serve, await self._listener.accept())

    async def _serve(self, client: TCPStream) -> None:
        self.accepted += 1
        connection = _Connection(client)
        self._connections.add(connection)
        try:
            async with client:
                if self._mode == "refuse":
                    connection.reset()
                with connection.scope, contextlib.suppress(*_ENDED):
                    await self._carry(connection, await self._wrapped(connection, client))
        finally:
            self._connections.discard(connection)
        if connection.dropped is not None:
            connection.dropped.set()

    async def _wrapped(self, connection: _Connection, client: TCPStream) -> ByteStream:
        await self._end_of_silence(connection)
        if self._tls is None:
            return client
        return await TLSStream.wrap(
            client, server_side=True, ssl_context=self._tls, standard_compatible=False
        )

    async def _carry(self, connection: _Connection, client: ByteStream) -> None:
        """Carry bytes both ways until one side hangs up."""
        try:
            server = await anyio.connect_tcp(*self._target)
        except OSError:
            connection.reset()
            return
        send, receive = anyio.create_memory_object_stream[tuple[float, bytes]](_CHUNKS)
        async with server, anyio.create_task_group() as group:
            group.start_soon(self._read_replies, connection, server, send)
            group.start_soon(self._hand_on, connection, receive, client)
            await self._pass_requests(connection, client, server)

    async def _pass_requests(self, connection: _Connection, client: ByteStream, server: ByteStream) -> None:
        with contextlib.suppress(*_ENDED):
            async for chunk in client:
                await self._end_of_silence(connection)
                self._look_for_drops(connection, chunk)
                await server.send(chunk)
        await self._end_of_silence(connection)
        connection.scope.cancel()

    def _look_for_drops(self, connection: _Connection, chunk: bytes) -> None:
        for drop in list(self._drops):
            drop.left -= connection.count(drop.request, chunk)
            if drop.left <= 0:
                self._drops.remove(drop)
                connection.dropped = drop.dropped
        connection.see(chunk)

    async def _read_replies(
        self, connection: _Connection, server: ByteStream, replies: ObjectSendStream[tuple[float, bytes]]
    ) -> None:
        async with replies:
            with contextlib.suppress(*_ENDED):
                async for chunk in server:
                    if connection.dropped is not None:
                        connection.reset()
                    await replies.send((anyio.current_time(), chunk))

    async def _hand_on(
        self, connection: _Connection, replies: ObjectReceiveStream[tuple[float, bytes]], client: ByteStream
    ) -> None:
        async with replies:
            with contextlib.suppress(*_ENDED):
                async for came_at, chunk in replies:
                    await self._hand_on_one(connection, came_at, chunk, client)
        await self._end_of_silence(connection)
        connection.scope.cancel()

    async def _hand_on_one(
        self, connection: _Connection, came_at: float, chunk: bytes, client: ByteStream
    ) -> None:
        while chunk:
            await self._end_of_silence(connection)
            if self._mode == "trickle":
                await client.send(chunk[:1])
                chunk = chunk[1:]
                await self._pause_until(anyio.current_time() + self._pause_s)
            elif self._mode == "delay" and anyio.current_time() < came_at + self._pause_s:
                await self._pause_until(came_at + self._pause_s)
            else:
                await client.send(chunk)
                return

    async def _end_of_silence(self, connection: _Connection) -> None:
        while self._mode == "blackhole" or connection.stranded:
            await self._changed.wait()

    async def _pause_until(self, end: float) -> None:
        """Wait until a time, or for the next mode."""
        with anyio.move_on_after(end - anyio.current_time()):
            await self._changed.wait()


@contextlib.asynccontextmanager
async def open_proxy(
    port: int, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[ChaosProxy]:
    """Run a proxy on a free port of loopback for as long as the block lasts.

    Args:
        port: the port of the server that it stands before; nobody needs to listen there yet.
        host: the server's address.
        tls: a server's context: the proxy speaks TLS to its clients then, and none to the server.

    Yields:
        The proxy, which passes everything on.
    """
    proxy = ChaosProxy(port, host=host, tls=tls)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(proxy._run)
            yield proxy
            group.cancel_scope.cancel()
    finally:
        proxy._listener.close()
