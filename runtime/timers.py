"""One timer for all deadlines of a supervisor: overdue asks, backoffs, probes and ticks.

A timer per ask costs more than the ask; a heap that one task sweeps costs a push.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Protocol

import anyio

from .tasks import clock

_PRUNE_FROM = 128  # entries; held longer, what has ended makes the garbage collector run again and again
_SLACK_S = 0.1


class Expiring(Protocol):
    """Something that has a deadline, and may end before it."""

    @property
    def ended(self) -> bool:
        """Whether its deadline means nothing any more; then it is let go of, soon and perhaps earlier."""
        ...

    def expire(self) -> object:
        """Carry out what the deadline means. Must neither block nor raise."""
        ...


class Timers:
    """A heap of deadlines, swept by one task.

    Attributes:
        now: `anyio.current_time`, or what costs a tenth of it.
    """

    def __init__(self) -> None:
        self.now: Callable[[], float] = anyio.current_time
        self._heap: list[tuple[float, int, Expiring]] = []
        self._order = itertools.count()
        self._prune_at = _PRUNE_FROM
        self._sleeping_until = -math.inf
        self._earlier: anyio.Event | None = None
        self._lag_s = 0.0

    def at(self, deadline: float, call: Callable[[], object]) -> None:
        """Call a function once a deadline has passed.

        There is no way to take a call back: it has to find out by itself that it came too late.

        Args:
            deadline: on the clock of `anyio.current_time`, in seconds.
            call: must neither block nor raise.
        """
        self.expire_at(deadline, _Call(call))

    def expire_at(self, deadline: float, item: Expiring) -> None:
        """Expire something once a deadline has passed, unless it has ended by then."""
        if deadline == math.inf:
            return
        if len(self._heap) >= self._prune_at:
            self._prune()
        heapq.heappush(self._heap, (deadline, next(self._order), item))
        if deadline < self._sleeping_until and self._earlier is not None:
            self._earlier.set()

    def take_lag_s(self) -> float:
        """Return how late a deadline was noticed, at worst, since this was called before; in seconds."""
        lag_s, self._lag_s = self._lag_s, 0.0
        return lag_s

    async def run(self) -> None:
        """Sweep until cancelled."""
        self.now = clock()
        while True:
            self._sweep(anyio.current_time())
            self._earlier = earlier = anyio.Event()
            self._sleeping_until = until = self._heap[0][0] if self._heap else math.inf
            try:
                with anyio.CancelScope(deadline=until):
                    await earlier.wait()
            finally:
                self._sleeping_until = -math.inf
            # What woke it early may have been due before the loop turned again.
            due = min(until, self._heap[0][0]) if self._heap else until
            self._lag_s = max(self._lag_s, anyio.current_time() - due)

    def _sweep(self, now: float) -> None:
        # What has ended may go a little early: else each ask would cost a wake-up, long after its answer.
        heap, soon = self._heap, now + _SLACK_S
        while heap and heap[0][0] <= (soon if heap[0][2].ended else now):
            item = heapq.heappop(heap)[2]
            if not item.ended:
                item.expire()

    def _prune(self) -> None:
        # Most asks end long before their deadlines: the heap would hold those of the last seconds.
        self._heap[:] = [entry for entry in self._heap if not entry[2].ended]
        heapq.heapify(self._heap)
        self._prune_at = max(_PRUNE_FROM, 2 * len(self._heap))


class _Call:
    __slots__ = ("ended", "expire")

    def __init__(self, call: Callable[[], object]) -> None:
        self.ended = False
        self.expire = call
