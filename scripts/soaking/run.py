"""One run: a Redis, its fleet and its faults, until the queues are empty."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import anyio
import anyio.to_thread

from botvisor import open_client
from botvisor.config import load_settings
from botvisor.testing import open_proxy
from botvisor.testing.redis_programs import find_server
from botvisor.testing.redis_server import start_server

from . import faults
from .cast import INJECTOR, Cast, cast
from .disk import Disk, NoDisk
from .fleet import Fleet
from .ledger import Ledger
from .options import Options
from .place import Facts, Place, write_facts
from .progress import Progress
from .records import Clock, Started
from .rest import Watch, settle
from .result import versions
from .schedule import Fault, draw

LINES = {  # of the server's configuration
    "aof": ("appendonly yes", "appendfsync always"),
    "everysec": ("appendonly yes", "appendfsync everysec"),
    "rdb": ("save 10 1",),
    "none": (),
}
RUNNER = "run"  # the name of this program's own ledger
START_LIMIT_S = 60.0
_EVERY_S = 0.25


class RunFailed(Exception):
    """The run cannot go on; the text says why."""


class Run:
    """A run.

    Args:
        place: its folder, which is there.
        options: what it is asked for.
        progress: told how it goes.
    """

    def __init__(self, place: Place, options: Options, progress: Progress) -> None:
        self.place = place
        self.options = options
        self.cast: Cast = cast(options)
        self.keep_disk = False
        self._progress = progress
        self._ledger = Ledger(place.ledger(RUNNER))
        self._watch = Watch(place, options)
        self._began = time.monotonic()

    async def run(self) -> None:
        """Do it all; the ledgers hold what there is to know then.

        Raises:
            RunFailed: when a bot or a sender does not start.
            NoServer, ServerEnded: when there is no Redis.
        """
        program = await anyio.to_thread.run_sync(find_server)
        async with contextlib.AsyncExitStack() as stack:
            disk, skipped = self._disk(stack)
            facts = Facts(
                options=self.options,
                versions=await anyio.to_thread.run_sync(versions, program),
                skipped=skipped,
                started_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            write_facts(self.place, facts)
            server = await start_server(program, self.place.redis, LINES[self.options.persistence])
            stack.callback(server.close)
            proxy = await stack.enter_async_context(open_proxy(server.port))
            environment = self.place.environment(f"redis://{proxy.host}:{proxy.port}")
            fleet = Fleet(self.place, self.cast, environment, self._ledger)
            stack.callback(fleet.kill)
            client = await stack.enter_async_context(open_client(load_settings(environment)))
            await self._start(fleet)
            sent = Ledger(self.place.ledger(INJECTOR))
            tell = self._tell
            injector = faults.Injector(
                server, proxy, fleet, disk, client, self.options, self._ledger, sent, tell
            )
            drawn = [fault for fault in draw(self.options) if fault.kind not in skipped]
            async with self._looking_after(fleet):
                await injector.run(drawn, self._began)
                await anyio.sleep(max(0.0, self._began + self.options.seconds - time.monotonic()))
            self._progress.note("the faults are over; waiting until the queues are empty")
            rest = await settle(self._watch, client, self.cast.targets, self.options, self._step(fleet))
            self._ledger.write(rest)
            await fleet.stop()

    def _disk(self, stack: contextlib.AsyncExitStack) -> tuple[Disk | None, dict[str, str]]:
        if not self.options.full_disks:
            return None, {}
        try:
            disk = Disk(self.place.store)
        except NoDisk as error:
            self._progress.note(f"no disk will be full: {error}")
            return None, {"full-disk": str(error)}
        stack.callback(lambda: disk.close(self.place.folder / "store-kept" if self.keep_disk else None))
        return disk, {}

    async def _start(self, fleet: Fleet) -> None:
        """Start the bots, and once their `main`s run the senders; the time of the faults begins then."""
        for bot in fleet.bots.values():
            bot.start()
        await self._until(fleet, lambda: self._running() >= len(fleet.bots), "the bots")
        for member in (*fleet.senders, *fleet.older, fleet.observer):
            member.start()
        senders = len(fleet.senders) if self.options.messages else 0
        await self._until(fleet, lambda: self._watch.accepted >= senders, "the senders")
        self._began = time.monotonic()
        self._ledger.write(Clock(at=self._began, wall=time.time()))
        self._progress.note(f"{len(fleet.bots)} bots and {len(fleet.senders + fleet.older)} senders run")

    def _running(self) -> int:
        return len({one.bot for one in self.place.records() if isinstance(one, Started)})

    async def _until(self, fleet: Fleet, condition: Callable[[], bool], who: str) -> None:
        with anyio.move_on_after(START_LIMIT_S):
            while not condition():
                if ended := fleet.note_ends():
                    raise RunFailed(f"{ended[0].name} ended with {ended[0].code}; its log says why")
                self._watch.look()
                await anyio.sleep(_EVERY_S)
            return
        raise RunFailed(f"{who} did not start within {START_LIMIT_S:g} s; their logs may say why")

    def _tell(self, fault: Fault) -> None:
        what = f"{fault.kind} {fault.target} {fault.how}".rstrip()
        lasts = f" for {fault.lasts:.1f} s" if fault.lasts else ""
        self._progress.note(f"{fault.at:6.1f} s  {what}{lasts}")

    def _step(self, fleet: Fleet) -> Callable[[], None]:
        def step() -> None:
            for ended in fleet.note_ends():
                self._progress.note(f"{ended.name} ended by itself with {ended.code}")
            self._watch.look()
            elapsed = time.monotonic() - self._began
            self._progress.advance(elapsed, self._watch.accepted, self._watch.handled)

        return step

    @contextlib.asynccontextmanager
    async def _looking_after(self, fleet: Fleet) -> AsyncIterator[None]:
        step = self._step(fleet)

        async def look() -> None:
            while True:
                step()
                await anyio.sleep(_EVERY_S)

        async with anyio.create_task_group() as group:
            group.start_soon(look)
            yield
            group.cancel_scope.cancel()
