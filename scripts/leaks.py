"""Looks for leaks: messages through one bot, bots in one process, runtimes one after the other; many of each.

What the process holds is read when a tenth, a half and all of it is done, each time after everything has
settled: tasks, file descriptors, sockets, Redis's connections, threads, objects and resident memory. The exit
code is 1 when there is more of something in the end than a tenth of the way in, and than is allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
import redis
from loguru import logger

from botvisor.bot import Bot
from botvisor.bot_supervisor import BotSupervisor
from botvisor.client import Client
from botvisor.config import Settings
from botvisor.embed import open_supervisor
from botvisor.testing.redis_server import open_server

ROOM = "https://example.test/room"
SENDERS = 32
AHEAD = 500  # messages that may wait
TOGETHER = 8  # bots that start and stop at one time
LIMIT_S = 60.0  # of whatever is waited for
# What the end may have more than a tenth of the way in: objects, and MiB. Some caches remember 10,000 queues
# or bots each, and the threads of each runtime leave arenas to the allocator.
ALLOWED = {"messages": (1_000, 8), "bots": (30_000, 24), "runtimes": (1_000, 16)}
WORKER = "AnyIO worker thread"  # anyio keeps those that were needed at one time, for the next time


@dataclass(frozen=True)
class Holdings:
    """What the process holds at one moment. `workers` are the threads that anyio keeps for the next call."""

    done: int
    seconds: float
    tasks: int
    descriptors: int
    sockets: int
    connections: int
    threads: int
    workers: int
    objects: int
    rss_mib: float


class Stores:
    """Opens supervisors over Redis, or over files if there is no URL, and counts Redis's connections."""

    def __init__(self, folder: Path, url: str) -> None:
        self._settings = Settings(
            use_redis=bool(url),
            redis_url=url or "redis://127.0.0.1",
            admin_message_dir=folder / "admin",
            heartbeat_dir=folder / "heartbeats",
            identity_dir=folder / "identities",
        )
        self._observer = redis.Redis.from_url(url, protocol=2) if url else None
        self.connections()  # its own is there before anything is counted

    def connections(self) -> int:
        """Return how many Redis counts, this question's own left out."""
        return len(self._observer.client_list()) - 1 if self._observer is not None else 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[BotSupervisor, Client]]:
        async with open_supervisor(self._settings) as supervisor:
            yield supervisor, Client(supervisor.backend, supervisor.settings, supervisor.log)


class Readings:
    """Reads what is held, at certain shares of a number of steps."""

    def __init__(self, stores: Stores, total: int, *, trace: bool) -> None:
        self.at = sorted({max(1, round(total * share)) for share in (0.1, 0.5, 1.0)})
        self.read: list[Holdings] = []
        self._stores = stores
        self._began = time.monotonic()
        self._trace = trace
        self._snapshot: tracemalloc.Snapshot | None = None

    async def take(self, done: int) -> None:
        for _ in range(3):  # finalizers of one round may leave work for the next
            await anyio.sleep(0.05)
            gc.collect()
        names = [thread.name for thread in threading.enumerate()]
        workers = names.count(WORKER)
        targets = [_target(fd) for fd in os.listdir("/proc/self/fd")]
        held = Holdings(
            done=done,
            seconds=round(time.monotonic() - self._began, 1),
            tasks=len(anyio.get_running_tasks()),
            descriptors=len(targets),
            sockets=sum(target.startswith("socket:") for target in targets),
            connections=self._stores.connections(),
            threads=len(names) - workers,
            workers=workers,
            objects=len(gc.get_objects()),
            rss_mib=round(_rss_mib(), 1),
        )
        self.read.append(held)
        print(held, file=sys.stderr, flush=True)
        if self._trace and len(self.read) == 1:
            tracemalloc.start(12)
            self._snapshot = tracemalloc.take_snapshot()
        elif self._snapshot is not None and done == self.at[-1]:
            grown = tracemalloc.take_snapshot().compare_to(self._snapshot, "traceback")
            for each in grown[:12]:
                print(each, *each.traceback.format(), sep="\n", file=sys.stderr)
            tracemalloc.stop()

    def problems(self, objects: int, mib: float) -> list[str]:
        """Say what has grown between the first and the last reading by more than is allowed."""
        first, last = self.read[0], self.read[-1]
        found = [
            f"{name}: {before} at {first.done}, {after} at {last.done}"
            for name in ("tasks", "descriptors", "sockets", "connections", "threads")
            if (after := getattr(last, name)) > (before := getattr(first, name))
        ]
        if last.objects > first.objects + objects:
            found.append(f"objects: {first.objects} at {first.done}, {last.objects} at {last.done}")
        if last.rss_mib > first.rss_mib + mib:
            found.append(f"memory: {first.rss_mib} MiB at {first.done}, {last.rss_mib} MiB at {last.done}")
        return found


async def messages(stores: Stores, total: int, readings: Readings) -> None:
    """Send so many messages to one bot, which handles them."""
    handled = 0
    ahead = anyio.Semaphore(AHEAD)
    reached = {goal: anyio.Event() for goal in readings.at}

    async def main(bot: Bot) -> None:
        nonlocal handled
        async for _ in bot.inbox:
            handled += 1
            ahead.release()
            if handled in reached:
                reached[handled].set()

    async with stores.open() as (supervisor, client):
        handle = await supervisor.start_bot(main, bot_id="leaks", room_url=ROOM)
        sent = 0
        for goal in readings.at:

            async def send(goal: int = goal) -> None:
                nonlocal sent
                while sent < goal:
                    sent += 1
                    await ahead.acquire()
                    await client.send("leaks", "hello")

            async with anyio.create_task_group() as group:
                for _ in range(SENDERS):
                    group.start_soon(send)
            with anyio.fail_after(LIMIT_S):
                await reached[goal].wait()
            await readings.take(handled)
        await handle.stop("all was handled")
    if handled != total:
        raise SystemExit(f"{total} messages were sent, and {handled} handled")


async def bots(stores: Stores, total: int, readings: Readings) -> None:
    """Start and stop so many bots under one supervisor; each handles a message."""

    async def main(bot: Bot) -> None:
        async for _ in bot.inbox:
            return

    async with stores.open() as (supervisor, client):
        started = 0

        async def live(goal: int) -> None:
            nonlocal started
            while started < goal:
                started += 1
                name = f"leaks-{started}"
                with anyio.fail_after(LIMIT_S):
                    handle = await supervisor.start_bot(main, bot_id=name, room_url=f"{ROOM}/{name}")
                    await client.send(name, "hello")
                    await handle.wait()

        for goal in readings.at:
            async with anyio.create_task_group() as group:
                for _ in range(TOGETHER):
                    group.start_soon(live, goal)
            await readings.take(started)


async def runtimes(stores: Stores, total: int, readings: Readings) -> None:
    """Open and close so many supervisors, one after the other, each with a bot of its own."""

    async def main(bot: Bot) -> None:
        await bot.wait_stopping()

    for number in range(1, total + 1):
        with anyio.fail_after(LIMIT_S):
            async with stores.open() as (supervisor, _):
                await supervisor.start_bot(main, bot_id="leaks", room_url=ROOM)
        if number in readings.at:
            await readings.take(number)


PHASES: dict[str, Callable[[Stores, int, Readings], Awaitable[None]]] = {
    phase.__name__: phase for phase in (messages, bots, runtimes)
}


async def run(options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"store": options.store, "readings": {}, "problems": []}
    async with contextlib.AsyncExitStack() as stack:
        url = (await stack.enter_async_context(open_server())).url if options.store == "redis" else ""
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leaks-", dir=options.folder)))
        stores = Stores(folder, url)
        for name, phase in PHASES.items():
            total = getattr(options, name)
            if total > 0:
                print(f"{name}, {options.store}:", file=sys.stderr)
                readings = Readings(stores, total, trace=options.trace)
                await phase(stores, total, readings)
                result["readings"][name] = [asdict(each) for each in readings.read]
                result["problems"] += [f"{name}: {each}" for each in readings.problems(*ALLOWED[name])]
        after = Readings(stores, 1, trace=False)
        print("after all that:", file=sys.stderr)
        await after.take(0)
        result["after"] = asdict(after.read[0])
    return result


def table(result: dict[str, Any]) -> str:
    lines = []
    for name, readings in result["readings"].items():
        columns = list(readings[0])
        lines.append(f"{name}, {result['store']}")
        lines.append("".join(f"{column:>13}" for column in columns))
        lines += ["".join(f"{each[column]:>13,}" for column in columns) for each in readings]
    return "\n".join([*lines, *(result["problems"] or ["nothing has grown"])])


def _target(descriptor: str) -> str:
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())
    except OSError:
        return ""  # the one that lists them


def _rss_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/leaks", description=__doc__)
    parser.add_argument("--store", choices=["files", "redis"], default="redis")
    parser.add_argument("--messages", type=int, default=1_000_000, help="through one bot")
    parser.add_argument("--bots", type=int, default=10_000, help="started and stopped in one process")
    parser.add_argument("--runtimes", type=int, default=1_000, help="opened and closed, each with a bot")
    parser.add_argument("--folder", type=Path, help="where the files go; the system's folder if not given")
    parser.add_argument("--trace", action="store_true", help="name the lines whose memory has grown; slow")
    parser.add_argument("--json", action="store_true", help="print the readings as JSON in place of a table")
    options = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    result = asyncio.run(run(options))
    print(json.dumps(result) if options.json else table(result))
    return bool(result["problems"])


if __name__ == "__main__":
    sys.exit(main())
