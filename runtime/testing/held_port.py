"""A port of loopback that is nobody else's for as long as it is held, also while its server is away."""

from __future__ import annotations

import contextlib
import socket
import sys
import weakref

_LAST = 55_535  # a node of a cluster listens on the port that is 10,000 higher, too


class HeldPort:
    """A port that the kernel gives to no other program that asks for any free one; a server may listen on it.

    It is held until `close`, or until nobody refers to this object any more.

    On Linux the sockets here are bound and do not listen: one of the same address may, if both say
    SO_REUSEADDR, and until it does, whoever connects is refused. Elsewhere the port is only free just now.

    Raises:
        OSError: when no port is free.
    """

    def __init__(self) -> None:
        self._sockets = contextlib.ExitStack()
        weakref.finalize(self, self._sockets.close)
        while not (number := self._bind(0)) <= _LAST or not self._hold_bus(number + 10_000):
            self._sockets.close()
        self.number: int = number
        if sys.platform != "linux":
            self._sockets.close()

    def close(self) -> None:
        """Let others have it."""
        self._sockets.close()

    def _bind(self, port: int) -> int:
        held = self._sockets.enter_context(socket.socket())
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", port))
        number: int = held.getsockname()[1]
        return number

    def _hold_bus(self, port: int) -> bool:
        try:
            return self._bind(port) == port
        except OSError:
            return False
