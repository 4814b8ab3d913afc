"""The time of `botvisor ps` over a fleet, beside the least that redis-py could do and beside the older way.

A process of real bots keeps a private Redis as busy as it would be. Whoever lists them connects anew each
time, in rounds that take turns, since machines are noisy: trust the ratios, not the times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import statistics
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

START_LIMIT_S = 120.0
BARE = "bare read"
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
    command = [sys.executable, "-P", __file__, "--be-the-fleet", "--bots", str(bots)]
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


async def run(options: argparse.Namespace) -> dict[str, Any]:
    async with open_server() as server:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            use(server.url, Path(folder))
            return await anyio.to_thread.run_sync(measure, server.url, options)


def use(url: str, folder: Path) -> None:
    """Let everybody use this Redis, and nobody's settings."""
    for name in [name for name in os.environ if name.startswith(("BOT_", "REDIS_"))]:
        del os.environ[name]
    os.environ.update(USE_REDIS="true", REDIS_URL=url)
    for name in ("admin_message", "heartbeat", "identity"):
        os.environ[f"BOT_{name.upper()}_DIR"] = str(folder / name)


def measure(url: str, options: argparse.Namespace) -> dict[str, Any]:
    contenders: dict[str, Callable[[], int]] = {
        BARE: lambda: bare_read(url),
        "SCAN, one by one": lambda: scan(url),
        "botvisor ps --json": lambda: ps("--json"),
        "botvisor ps": ps,
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with fleet_of(options.bots):
        for lap in range(options.rounds + 1):  # the first one warms up
            turn = lap % len(contenders)  # nobody is always first
            for name in [*contenders, *contenders][turn : turn + len(contenders)]:
                took_ms = timed(contenders[name])
                times[name] += [took_ms] if lap else []
        with contextlib.closing(redis.Redis.from_url(url)) as client:
            version = client.info("server")["redis_version"]
            if client.zcard("bots:alive") != options.bots:
                raise AssertionError("not all bots were there")
    facts = {"python": platform.python_version(), "redis_py": redis.__version__, "redis": version}
    return {**facts, "bots": options.bots, "ms": times}


def table(result: dict[str, Any]) -> str:
    times = result["ms"]
    rounds = len(times[BARE])
    lines = [
        f"A list of {result['bots']:,} bots, x the {BARE}: median (least-most) of {rounds} rounds, ms",
        "Python {python}, redis-py {redis_py}, Redis {redis}\n".format(**result),
    ]
    for name, taken in times.items():
        found = [each / bare for each, bare in zip(taken, times[BARE], strict=True)]
        spread = f"({min(found):.1f}-{max(found):.1f})"
        lines.append(
            f"{name:20}{statistics.median(found):8.2f} {spread:12}{statistics.median(taken):8.0f} ms"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/bench fleet", description=__doc__)
    parser.add_argument("--bots", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print every round as JSON in place of the table")
    parser.add_argument("--be-the-fleet", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_the_fleet:
        anyio.run(live, options.bots)
        return
    result = anyio.run(run, options)
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
