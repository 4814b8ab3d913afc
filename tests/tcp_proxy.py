"""A proxy before a server of a test's own: it can hold bytes back, cut connections, and speak TLS."""

import contextlib
import socket
import struct

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

ENDED = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)


class Proxy:
    """Carries bytes between its clients and a server on loopback.

    Args:
        target: the server's port.
    """

    def __init__(self, target):
        self.port = None
        self._target = target
        self._open = anyio.Event()
        self._open.set()
        self.clients = set()

    def hold(self):
        """Take bytes of clients and servers from now on, but pass nothing on."""
        self._open = anyio.Event()

    def release(self):
        """Pass on what was held, also what a client sent that is gone by now."""
        self._open.set()

    async def reset(self):
        """Cut every client's connection with a RST."""
        for client in list(self.clients):
            linger = struct.pack("ii", 1, 0)
            client.extra(SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await client.aclose()

    async def serve(self, client):
        self.clients.add(client)
        try:
            async with (
                client,
                await anyio.connect_tcp("127.0.0.1", self._target) as server,
                anyio.create_task_group() as group,
            ):
                group.start_soon(self._pump, server, client, group.cancel_scope)
                await self._pump(client, server, group.cancel_scope)
        finally:
            self.clients.discard(client)

    async def _pump(self, source, target, scope):
        with contextlib.suppress(*ENDED):
            async for chunk in source:
                await self._open.wait()
                await target.send(chunk)
        await self._open.wait()
        scope.cancel()


class QuietTLSListener(TLSListener):
    """One that does not log the clients it turns away."""

    @staticmethod
    async def handle_handshake_error(exc, stream):
        await anyio.aclose_forcefully(stream)
        if not isinstance(exc, Exception):
            raise exc


@contextlib.asynccontextmanager
async def proxy(target, *, tls=None):
    """Run a `Proxy` for as long as the block lasts; with a server's TLS context it speaks TLS."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    running = Proxy(target)
    running.port = listener.extra(SocketAttribute.local_port)
    if tls is not None:
        listener = QuietTLSListener(listener, tls, standard_compatible=False)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, running.serve)
        try:
            yield running
        finally:
            group.cancel_scope.cancel()
