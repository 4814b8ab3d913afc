"""A child without a mailbox: something that runs until it is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import anyio

from .envelope import Envelope
from .restart import RestartType


class TaskChild:
    """Runs a function under a supervisor, always.

    Args:
        name: the child's name.
        function: runs until it is cancelled; it calls its argument once it is ready.
    """

    kind: RestartType = "permanent"
    parks = True
    handling = ""

    def __init__(self, name: str, function: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        self.name = name
        self._function = function
        self._scope = anyio.CancelScope()

    async def run(self, started: Callable[[], None]) -> None:
        """Run one incarnation."""
        self._scope = anyio.CancelScope()
        with self._scope:
            await self._function(started)

    def request_stop(self, reason: str) -> None:
        """Cancel the function."""
        self._scope.cancel()

    def nudge(self) -> bool:
        """Return False: there is no gentler way."""
        return False

    def rest(self) -> Sequence[Envelope]:
        """Return nothing: there is no mailbox."""
        return ()

    def dispose(self) -> Sequence[Envelope]:
        """Return nothing: there is no mailbox."""
        return ()
