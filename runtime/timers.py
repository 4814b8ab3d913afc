"""One timer for all deadlines of a supervisor: overdue asks, backoffs, probes and ticks.

A timer per ask costs more than the ask; a heap that one task sweeps costs a push.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable

import anyio


class Timers:
    """A heap of deadlines, swept by one task."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._sleeping_until = -math.inf
        self._earlier: anyio.Event | None = None

    def at(self, deadline: float, call: Callable[[], object]) -> None:
        """Call a function once a deadline has passed.

        There is no way to take a call back: it has to find out by itself that it came too late.

        Args:
            deadline: on the clock of `anyio.current_time`, in seconds.
            call: must neither block nor raise.
        """
        heapq.heappush(self._heap, (deadline, next(self._order), call))
        if deadline < self._sleeping_until and self._earlier is not None:
            self._earlier.set()

    async def run(self) -> None:
        """Sweep until cancelled."""
        heap = self._heap
        while True:
            now = anyio.current_time()
            while heap and heap[0][0] <= now:
                heapq.heappop(heap)[2]()
            self._earlier = anyio.Event()
            self._sleeping_until = heap[0][0] if heap else math.inf
            try:
                with anyio.CancelScope(deadline=self._sleeping_until):
                    await self._earlier.wait()
            finally:
                self._sleeping_until = -math.inf
