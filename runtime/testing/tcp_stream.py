"""TCP on plain sockets: streams that can be ended with a RST, which the event loops' own do not offer."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute

_RESET = struct.pack("ii", 1, 0)  # linger for no time at all


class TCPStream(ByteStream):
    """A connection. One task may read and another one write.

    Args:
        connection: a connected socket; it becomes non-blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    def reset_on_close(self) -> None:
        """Let the end of this stream be a RST: the peer loses what it has not read yet, and gets an error."""
        with contextlib.suppress(OSError):  # closed is closed
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        """Return the next bytes; see `anyio.abc.ByteReceiveStream`."""
        while True:
            try:
                chunk = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            except OSError as error:
                raise anyio.BrokenResourceError from error
            if not chunk:
                raise anyio.EndOfStream
            return chunk

    async def send(self, item: bytes) -> None:
        """Send bytes; see `anyio.abc.ByteSendStream`."""
        left = memoryview(item)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    async def send_eof(self) -> None:
        """Tell the peer that nothing more comes."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Close the connection."""
        self._socket.close()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """The socket; see `anyio.TypedAttributeProvider`."""
        return {SocketAttribute.raw_socket: lambda: self._socket}


class TCPListener:
    """Takes connections on a free port of an address.

    Args:
        host: the address.
    """

    def __init__(self, host: str) -> None:
        self._socket = socket.create_server((host, 0))
        self._socket.settimeout(0)
        self.port: int = self._socket.getsockname()[1]

    async def accept(self) -> TCPStream:
        """Return the next connection."""
        while True:
            await anyio.wait_readable(self._socket)
            with contextlib.suppress(BlockingIOError, ConnectionError):  # it went away before
                return TCPStream(self._socket.accept()[0])

    def close(self) -> None:
        """Take no more."""
        self._socket.close()
