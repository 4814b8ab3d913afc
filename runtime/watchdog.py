"""The watchdog: a thread that sees what the event loop cannot see, that it stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import anyio

from .stall import Stall, stall_of

_LOOKS = 4  # in the time after which a loop counts as blocked
_WORKED = 0.03  # of a stall: on a busy machine whoever is in the way gets no more of a core
AGAIN_S = 5.0  # a stall that lasts is told again this often


class Watchdog:
    """Watches the event loop that it is run on.

    The loop tells a few times a second that it turns. When it has not for too long, the thread looks where
    the loop's own thread stands. Code that holds the interpreter's lock stops this thread, too; `StackDump`
    covers that.

    Args:
        after_s: how long a loop may stand still, in seconds.
        on_stall: told of a stall while it lasts, in the watchdog's thread; it may block.
        on_turn: told on the event loop once it is over: of the stall, None if the thread has not seen it, and
            of its length in seconds.
        on_tick: called on the event loop each time it turns.
        again_s: how often a stall that lasts is told, in seconds.
    """

    def __init__(
        self,
        after_s: float,
        *,
        on_stall: Callable[[Stall], None],
        on_turn: Callable[[Stall | None, float], None],
        on_tick: Callable[[], None] = lambda: None,
        again_s: float = AGAIN_S,
    ) -> None:
        self._after_s = after_s
        self._look_s = after_s / _LOOKS
        self._again_s = again_s
        self._on_stall = on_stall
        self._on_turn = on_turn
        self._on_tick = on_tick
        self._turned_at = 0.0
        self._stall: Stall | None = None

    async def run(self, started: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            started: called once it watches.
        """
        self._turned_at, self._stall = time.monotonic(), None
        over = threading.Event()
        threading.Thread(
            target=self._watch, args=(threading.get_ident(), over), name="botvisor watchdog", daemon=True
        ).start()
        started()
        try:
            while True:
                self._on_tick()
                worked_s = time.process_time()
                await anyio.sleep(self._look_s)
                now, worked_s = time.monotonic(), time.process_time() - worked_s
                stall, self._stall = self._stall, None
                for_s, self._turned_at = now - self._turned_at, now
                # A process that was stopped, or a machine that slept, did not work meanwhile.
                held = for_s > self._after_s + self._look_s and worked_s > for_s * _WORKED
                if stall is not None or held:
                    self._on_turn(stall, for_s)
        finally:
            over.set()

    def _watch(self, thread: int, over: threading.Event) -> None:
        told_at = looked_at = awake_since = time.monotonic()
        while not over.wait(self._look_s):
            now = time.monotonic()
            if now - looked_at > self._look_s + self._after_s:
                awake_since = now  # this thread stood still as well, so nobody knows about the loop
            looked_at = now
            if now - max(self._turned_at, awake_since) < self._after_s:
                continue
            if self._stall is not None and now - told_at < self._again_s:
                continue
            turned_at = self._turned_at
            stall = stall_of(thread, now - turned_at)
            if stall is not None and turned_at == self._turned_at:
                self._stall, told_at = stall, now
                self._on_stall(stall)
