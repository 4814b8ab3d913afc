"""From an actor's crash to its next incarnation's start, without a backoff, beside other supervisors.

The bare contender is one task that catches the exception and calls again. pykka has no supervisor: here a
watching thread starts the next actor, as its users write it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

from botvisor.actor import Actor, Context
from botvisor.restart import Policy

from .figures import quantile
from .machine import versions
from .program import Program, Progress, turns
from .supervised import open_cell
from .tables import Aim, Result, Table

BARE = "one task, try and except"
OURS = "botvisor"
PYKKA, MODE = "pykka, a watcher thread", "mode"
NAMES = (BARE, OURS, PYKKA, MODE)
COLUMN = "crash to running"
LIMIT_S = 10.0


class Restarting:
    """Notes when an actor crashes and when it runs again.

    Args:
        crash: makes it crash.
    """

    def __init__(self, crash: Callable[[], object]) -> None:
        self.crash = crash
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.Event()
        self._crashed_at = self._ran_at = 0.0

    def crashes(self) -> None:
        """Called in the actor, right before it raises."""
        self._crashed_at = time.perf_counter()

    def runs(self) -> None:
        """Called in the actor once an incarnation runs, in any thread."""
        self._ran_at = time.perf_counter()
        self._loop.call_soon_threadsafe(self._running.set)

    async def restart_us(self) -> float:
        """Make it crash, and return how long it took to run again, in microseconds."""
        self._running.clear()
        self.crash()
        await asyncio.wait_for(self._running.wait(), LIMIT_S)
        return (self._ran_at - self._crashed_at) * 1e6


@contextlib.asynccontextmanager
async def open_bare() -> AsyncIterator[Restarting]:
    due = asyncio.Event()
    its = Restarting(due.set)

    async def live() -> None:
        its.runs()
        await due.wait()
        due.clear()
        its.crashes()
        raise RuntimeError

    async def supervise() -> None:
        while True:
            with contextlib.suppress(RuntimeError):
                await live()

    task = asyncio.create_task(supervise())
    await asyncio.sleep(0)
    yield its
    task.cancel()


@contextlib.asynccontextmanager
async def open_ours() -> AsyncIterator[Restarting]:
    its = Restarting(lambda: None)

    class Fragile(Actor):
        async def start(self, ctx: Context) -> None:
            its.runs()

        async def handle(self, message: object) -> None:
            its.crashes()
            raise RuntimeError

    # As good as no limit and no backoff; the supervisor remembers the restarts of a period.
    policy = Policy(intensity=1000, period=0.05, base=1e-9, cap=1e-9)
    async with open_cell(Fragile, policy) as cell:
        its.crash = lambda: cell.ref.tell(None)
        yield its


@contextlib.asynccontextmanager
async def open_pykka() -> AsyncIterator[Restarting]:
    import pykka

    logging.getLogger("pykka").setLevel(logging.CRITICAL)
    its: Restarting
    failed = threading.Event()
    over = False

    class Fragile(pykka.ThreadingActor):
        def on_start(self) -> None:
            nonlocal current
            current = self.actor_ref
            its.runs()

        def on_receive(self, message: object) -> None:
            its.crashes()
            raise RuntimeError

        def on_failure(self, *_: object) -> None:
            failed.set()

    def watch() -> None:
        while failed.wait():
            failed.clear()
            if over:
                return
            Fragile.start()

    current: pykka.ActorRef
    its = Restarting(lambda: current.tell("crash"))
    Fragile.start()
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield its
    finally:
        over = True
        failed.set()
        watcher.join(LIMIT_S)
        pykka.ActorRegistry.stop_all()


@contextlib.asynccontextmanager
async def open_mode() -> AsyncIterator[Restarting]:
    import mode

    logging.getLogger("mode").setLevel(logging.CRITICAL)
    due = asyncio.Event()
    its = Restarting(due.set)

    class Fragile(mode.Service):
        @mode.Service.task
        async def _live(self) -> None:
            its.runs()
            await self.wait(due.wait())
            due.clear()
            its.crashes()
            raise RuntimeError

    supervisor = mode.OneForOneSupervisor(max_restarts=1_000_000.0, over=1.0)
    supervisor.add(Fragile())  # given to the constructor, it would be looked at every five seconds only
    async with supervisor:
        yield its


OPENED = {BARE: open_bare, OURS: open_ours, PYKKA: open_pykka, MODE: open_mode}


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    times = options.times or (20 if options.quick else 100)
    table = Table(title="A restart", unit="us, p50", baseline=BARE)
    table.aims = [Aim(contender=OURS, column=COLUMN, against=peer, at_most=1) for peer in (PYKKA, MODE)]
    async with contextlib.AsyncExitStack() as stack:
        everybody: dict[str, Restarting] = {}
        for name in NAMES:
            try:
                everybody[name] = await stack.enter_async_context(OPENED[name]())
            except ImportError as error:
                result.left_out.append(f"{name}: {error}")
        await asyncio.sleep(0.05)
        progress = Progress("actor_restarts", options.rounds * len(everybody))
        for _, order in turns(list(everybody), options.rounds):
            for name in order:
                progress.step(name)
                table.add(name, COLUMN, quantile([await one(everybody[name]) for _ in range(times)], 0.5))
        progress.close()
    table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    result.versions = versions("pykka", "mode-streaming")
    return [table]


async def one(its: Restarting) -> float:
    found = await its.restart_us()
    await asyncio.sleep(0.002)  # mode loses a crash that happens while it still restarts
    return found


def main() -> None:
    program = Program("actor_restarts", __doc__, rounds=(7, 2))
    program.parser.add_argument("--times", type=int, help="restarts of a round")
    program.run(measure)


if __name__ == "__main__":
    main()
