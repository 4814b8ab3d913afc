"""Virtual time: tests that wait for hours end in milliseconds.

A virtual clock stands still while anything can run, and jumps to the next timer when nothing can. It knows
nothing of threads and sockets: use it for code that waits for timers and in-memory streams alone.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, Literal

BackendName = Literal["asyncio", "uvloop", "trio"]

# A turn of the loop in which nobody scheduled anything may still come between a result and its reader.
_QUIET_TURNS = 3


def virtual_time(backend: BackendName) -> tuple[str, dict[str, Any]]:
    """Return what an `anyio_backend` fixture has to return for a test in virtual time.

    Args:
        backend: the event loop.

    Returns:
        The backend's name and options, as `anyio.run` and anyio's pytest plugin take them.
    """
    if backend == "trio":
        from trio.testing import MockClock

        return "trio", {"clock": MockClock(autojump_threshold=0)}
    if backend == "uvloop":
        import uvloop

        return "asyncio", {"loop_factory": _virtual(uvloop.Loop)}
    return "asyncio", {"loop_factory": _virtual(asyncio.SelectorEventLoop)}


def _virtual(base: type[Any]) -> type[asyncio.AbstractEventLoop]:
    class VirtualTimeLoop(base):  # type: ignore[misc]  # the base is chosen at run time
        def __init__(self) -> None:
            super().__init__()
            self._virtual_now = 0.0
            self._virtual_timers: list[tuple[float, int, asyncio.TimerHandle]] = []
            self._virtual_order = itertools.count()
            self._turning = False
            self._active = False
            self._quiet = 0

        def time(self) -> float:
            return self._virtual_now

        def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
            self._active = True
            return super().call_soon(callback, *args, context=context)

        def call_later(
            self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
        ) -> asyncio.TimerHandle:
            return self.call_at(self._virtual_now + delay, callback, *args, context=context)

        def call_at(
            self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
        ) -> asyncio.TimerHandle:
            handle = asyncio.TimerHandle(when, callback, args, self, context)
            heapq.heappush(self._virtual_timers, (when, next(self._virtual_order), handle))
            self._active = True
            self._keep_turning()
            return handle

        def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
            pass  # it is passed over when its time comes

        def _keep_turning(self) -> None:
            if not self._turning and self._virtual_timers:
                self._turning = True
                super().call_soon(self._turn)

        def _turn(self) -> None:
            self._turning = False
            self._quiet = 0 if self._active else self._quiet + 1
            self._active = False
            timers = self._virtual_timers
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if timers and self._quiet >= _QUIET_TURNS:
                self._virtual_now = max(self._virtual_now, timers[0][0])
            while timers and timers[0][0] <= self._virtual_now:
                handle = heapq.heappop(timers)[2]
                if not handle.cancelled():
                    self.call_soon(handle._run)
            self._keep_turning()

    return VirtualTimeLoop
