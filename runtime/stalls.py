"""What becomes of a stall: operators see it while it lasts, and the ledger keeps it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable

import anyio.to_thread

from botvisor.actors.backend.stack_dump import StackDump

from .errors import StoreError
from .heartbeat import to_hash
from .ledger import Ledger
from .logs import Log
from .stall import Blocked, Stall, read_dump
from .storage import Storage
from .store import Command, WriteHeartbeat
from .vitals import Vitals
from .watchdog import Watchdog

_DUMP_LATER_S = 1.0  # than the thread, which tells more and to more

EVENT_LOOP = "event loop"
"""The name under which stalls stand in the ledger."""


class Stalls:
    """Watches the event loop of a supervisor's bots.

    Args:
        after_s: how long it may stand still, in seconds.
        storage: where the bots' heartbeats go meanwhile.
        ledger: where it is written down afterwards.
        log: where it is said afterwards. While a loop is blocked nothing is logged: a log may be what blocks.
        vitals: returns what the heartbeats of the bots say.

    Attributes:
        dump: sees the stalls of code that holds the interpreter's lock; None where nobody does.
    """

    def __init__(
        self,
        after_s: float,
        storage: Storage,
        ledger: Ledger,
        log: Log,
        vitals: Callable[[], Iterable[Vitals]],
    ) -> None:
        self.dump: StackDump | None = None
        self._after_s = after_s
        self._storage = storage
        self._ledger = ledger
        self._log = log
        self._vitals = vitals
        self._watchdog = Watchdog(after_s, on_stall=self._tell, on_turn=self._over, on_tick=self._arm)

    async def run(self, started: Callable[[], None]) -> None:
        """Watch until cancelled; `started` is called once it does."""
        await self._watchdog.run(started)

    async def open_dump(self, bot_id: str) -> None:
        """Have a dump made as well, of code that holds the interpreter's lock: once in a process."""
        if self._storage.stack_dump is not None:
            make = functools.partial(self._storage.stack_dump, bot_id, self._after_s + _DUMP_LATER_S)
            with contextlib.suppress(StoreError):  # the heartbeats tell that the directory cannot be used
                self.dump = await anyio.to_thread.run_sync(make)
                self._arm()

    async def close_dump(self) -> None:
        """End that."""
        dump, self.dump = self.dump, None
        if dump is not None:
            with contextlib.suppress(StoreError):
                await anyio.to_thread.run_sync(dump.close)

    def _tell(self, stall: Stall) -> None:
        """Write heartbeats in place of the loop that cannot. Runs in the watchdog's thread."""
        write = self._storage.write_aside
        commands: list[Command] = []
        for vitals in list(self._vitals()):
            beat = vitals.blocked_beat(stall)
            if beat is not None:
                commands.append(WriteHeartbeat(beat.bot_id, to_hash(beat)))
        if write is not None and commands:
            with contextlib.suppress(Exception):  # nobody is there to be told
                write(commands)

    def _over(self, stall: Stall | None, for_s: float) -> None:
        if self.dump is not None:
            stall = stall or read_dump(self.dump.take(), for_s)
        if stall is None:
            return
        error = Blocked(Stall(where=stall.where, stack=stall.stack, for_s=for_s))
        self._ledger.write_down(EVENT_LOOP, error, "", None, 0)
        self._log.warning("supervisor", f"{error}:", stall.stack)
        for vitals in self._vitals():
            vitals.on_change()

    def _arm(self) -> None:
        if self.dump is not None:
            self.dump.arm()
