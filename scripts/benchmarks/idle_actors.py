"""A hundred thousand actors that wait for messages: the memory and the start of each.

Each round of each contender is a process of its own, so that nobody inherits another's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio

from botvisor.actor import Actor
from botvisor.cell import Cell
from botvisor.restart import Policy

from .machine import versions
from .processes import Child, ready, say
from .program import Program, Progress, turns
from .supervised import open_supervisor
from .tables import Result, Table

BARE = "a task and an anyio stream"
OURS = "botvisor"
PYKKA, XOSCAR = "pykka", "xoscar"
NAMES = (BARE, OURS, PYKKA, XOSCAR)
AT_MOST = {PYKKA: 2000}  # a thread each
MEMORY, START = "memory, KiB each", "start, us each"


@contextlib.asynccontextmanager
async def open_bare(count: int) -> AsyncIterator[None]:
    async def serve() -> None:
        send, receive = anyio.create_memory_object_stream[int](1024)
        with send, receive:
            await receive.receive()

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(serve)
        await asyncio.sleep(0)
        yield
        group.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def open_ours(count: int) -> AsyncIterator[None]:
    async with open_supervisor() as supervisor:

        async def start(first: int) -> None:
            for number in range(first, count, 100):
                await supervisor.start(Cell(f"actor-{number}", Actor, supervisor.timers), Policy())

        async with anyio.create_task_group() as group:
            for first in range(100):
                group.start_soon(start, first)
        yield


@contextlib.asynccontextmanager
async def open_pykka(count: int) -> AsyncIterator[None]:
    import pykka

    class Idle(pykka.ThreadingActor):
        pass

    for _ in range(count):
        Idle.start()
    yield


@contextlib.asynccontextmanager
async def open_xoscar(count: int) -> AsyncIterator[None]:
    import xoscar

    class Idle(xoscar.Actor):
        pass

    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    for number in range(count):
        await xoscar.create_actor(Idle, address=pool.external_address, uid=f"idle-{number}")
    yield


OPENED: dict[str, Callable[[int], AbstractAsyncContextManager[None]]] = {
    BARE: open_bare,
    OURS: open_ours,
    PYKKA: open_pykka,
    XOSCAR: open_xoscar,
}


async def be(name: str, count: int) -> None:
    """Start the actors, say what they cost, and end at once."""
    try:
        async with OPENED[name](1):
            pass  # imports and first allocations are nobody's
    except ImportError as error:
        ready()
        say({"missing": str(error)})
        return
    gc.collect()
    before, began = rss_kib(), time.perf_counter()
    async with OPENED[name](count):
        took_s = time.perf_counter() - began
        gc.collect()
        ready()
        say({"kib": (rss_kib() - before) / count, "us": took_s / count * 1e6})
        os._exit(0)


def rss_kib() -> int:
    """Return the memory that this process has in use, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    count = options.actors or (10_000 if options.quick else 100_000)
    tables = {
        "kib": Table(title=f"{count:,} idle actors", unit="KiB of memory each", baseline=BARE, digits=1),
        "us": Table(title=f"Starting {count:,} actors", unit="us each", baseline=BARE, digits=1),
    }
    fewer = ", ".join(f"{most:,} of {name}" for name, most in AT_MOST.items() if most < count)
    tables["kib"].note = f"only {fewer}: each is a thread" if fewer else ""
    progress = Progress("idle_actors", options.rounds * len(NAMES))
    for _, order in turns(NAMES, options.rounds):
        for name in order:
            progress.step(name)
            child = await Child.start("idle_actors", "--be", name, str(min(count, AT_MOST.get(name, count))))
            found = await child.found()
            await child.close()
            if "missing" in found:
                result.left_out.append(f"{name}: {found['missing']}")
                continue
            for kind, table in tables.items():
                table.add(name, "each", found[kind])
    progress.close()
    result.versions = versions("pykka", "xoscar")
    for table in tables.values():
        table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    result.left_out = list(dict.fromkeys(result.left_out))
    return list(tables.values())


def main() -> None:
    if sys.argv[1:2] == ["--be"]:
        asyncio.run(be(sys.argv[2], int(sys.argv[3])))
        return
    program = Program("idle_actors", __doc__, rounds=(5, 1))
    program.parser.add_argument("--actors", type=int, help="how many; 100000, or 10000 with --quick")
    program.run(measure)


if __name__ == "__main__":
    main()
