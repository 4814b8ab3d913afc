"""The time of `botvisor ps` over a fleet, beside the least that redis-py could do and beside the older way.

A process of real bots keeps a private Redis as busy as it would be. Whoever lists them connects anew each
time, in rounds that take turns, since machines are noisy: trust the ratios, not the times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import redis
from loguru import logger

from botvisor import Bot, open_supervisor
from botvisor.cli import main as botvisor
from botvisor.testing.redis_server import open_server

from .program import Program, Progress, settings, turns
from .tables import Result, Table

START_LIMIT_S = 120.0
BARE, SCAN = "bare read", "SCAN, one by one"
PS, PS_JSON = "botvisor ps", "botvisor ps --json"
BE_THE_FLEET = "--be-the-fleet"
SIDE_BY_SIDE = 50  # bots that start at one time


def bare_read(url: str) -> int:
    """List the ids as redis-py does at its best: the index, then every heartbeat in one pipeline."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        ids = client.zrevrange("bots:alive", 0, -1)
        pipeline = client.pipeline(transaction=False)
        for bot_id in ids:
            pipeline.hgetall(b"heartbeat:" + bot_id)
        found = pipeline.execute()
    print("\n".join(str(fields[b"pid"]) for fields in found if fields))
    return len(found)


def scan(url: str) -> int:
    """List the ids as it was done without an index: SCAN, and one HGETALL after the other."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        found = [client.hgetall(key) for key in client.scan_iter("heartbeat:*")]
    print("\n".join(str(fields[b"pid"]) for fields in found if fields))
    return len(found)


def ps(*options: str) -> int:
    """List the fleet as an operator does: connect, read, judge each heartbeat, and show a row for each."""
    if botvisor(["ps", *options]) != 0:
        raise AssertionError("botvisor ps did not answer")
    return 0


async def live(bots: int) -> None:
    """Be a process of so many bots, until standard input ends."""

    async def main(bot: Bot) -> None:
        await bot.wait_stopping()

    logger.remove()
    async with open_supervisor() as supervisor:
        limit = anyio.Semaphore(SIDE_BY_SIDE)

        async def start(number: int) -> None:
            async with limit:
                room = f"https://example.test/room{number}"
                await supervisor.start_bot(main, bot_id=f"bot{number}", room_url=room)

        async with anyio.create_task_group() as group:
            for number in range(bots):
                group.start_soon(start, number)
        print("up", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)


@contextlib.contextmanager
def fleet_of(bots: int) -> Any:
    """Run a process of so many bots for as long as the block lasts."""
    command = [sys.executable, "-P", "-m", f"{__package__}.fleet_listing", BE_THE_FLEET, str(bots)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != "up\n":
                raise AssertionError("the fleet did not start")
            yield
        finally:
            process.stdin.close()


def timed(contender: Callable[[], int]) -> float:
    """Return how long it took, in milliseconds; what it prints is kept from the terminal."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        began = time.perf_counter()
        contender()
        took_ms = (time.perf_counter() - began) * 1000
    if not out.getvalue():
        raise AssertionError("it printed nothing")
    return took_ms


async def run(options: argparse.Namespace, result: Result) -> list[Table]:
    async with open_server() as server:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            os.environ.update(settings(Path(folder), server.url))
            return [await anyio.to_thread.run_sync(measure, server.url, options)]


def measure(url: str, options: argparse.Namespace) -> Table:
    bots = options.bots or (100 if options.quick else 1000)
    table = Table(title=f"A list of {bots:,} bots", unit="ms", baseline=BARE)
    contenders: dict[str, Callable[[], int]] = {
        BARE: lambda: bare_read(url),
        SCAN: lambda: scan(url),
        PS_JSON: lambda: ps("--json"),
        PS: ps,
    }
    progress = Progress("fleet_listing", (options.rounds + 1) * len(contenders))
    with fleet_of(bots):
        for lap, order in turns(list(contenders), options.rounds + 1):
            for name in order:
                progress.step(name)
                took_ms = timed(contenders[name])
                if lap:  # the first one warms up
                    table.add(name, "a list", took_ms)
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            if client.zcard("bots:alive") != bots:
                raise AssertionError("not all bots were there")
    progress.close()
    table.rows = {name: table.rows[name] for name in contenders}
    return table


def main() -> None:
    if sys.argv[1:2] == [BE_THE_FLEET]:
        anyio.run(live, int(sys.argv[2]))
        return
    program = Program("fleet_listing", __doc__, rounds=(15, 2))
    program.parser.add_argument("--bots", type=int, help="how many; 1000, or 100 with --quick")
    program.run(run)


if __name__ == "__main__":
    main()
