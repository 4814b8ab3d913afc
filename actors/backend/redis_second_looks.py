"""Second looks: a bell that rang before its message was there is rung again, a little later."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import anyio

AFTER_S = (0.002, 0.01, 0.05, 0.25)
"""When to look again, in seconds after the bell: older writers PUBLISH before they RPUSH."""


class SecondLooks:
    """Looks again after each bell; of two bells of one channel only the later one's looks remain.

    Args:
        look: called with a channel, on the event loop.
    """

    def __init__(self, look: Callable[[bytes], None]) -> None:
        self._look = look
        self._began: dict[bytes, float] = {}
        self._due: list[tuple[float, bytes, float, int]] = []  # when, which, since when, how many before
        self._wake: anyio.Event | None = None

    def begin(self, channel: bytes) -> None:
        """Look at a channel again, 2, 10, 50 and 250 ms from now."""
        now = anyio.current_time()
        if self._began.get(channel) == now:
            return  # they came at once
        self._began[channel] = now
        heapq.heappush(self._due, (now + AFTER_S[0], channel, now, 0))
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wake = anyio.Event()
            next_at = self._due[0][0] if self._due else math.inf
            with anyio.move_on_after(max(0.0, next_at - anyio.current_time())):
                await self._wake.wait()
            self._look_at_due(anyio.current_time())

    def _look_at_due(self, now: float) -> None:
        while self._due and self._due[0][0] <= now:
            _, channel, began, done = heapq.heappop(self._due)
            if self._began.get(channel) != began:
                continue
            if done + 1 < len(AFTER_S):
                heapq.heappush(self._due, (began + AFTER_S[done + 1], channel, began, done + 1))
            else:
                del self._began[channel]
            self._look(channel)
