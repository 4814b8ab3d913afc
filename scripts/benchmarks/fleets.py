"""A process that is so many idle bots, and says what that costs."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import redis.asyncio
from loguru import logger

from botvisor import Bot, open_supervisor
from botvisor.config import load_settings

from .idle_actors import rss_kib
from .operations import HEARTBEAT_TTL_S, heartbeat_fields, heartbeat_key, queue_key
from .processes import ready, say
from .program import settings

BEAT_S = 10.0  # the interval of a heartbeat, by default
SIDE_BY_SIDE = 50  # bots that start at one time
OURS, OURS_ON_FILES = "botvisor over Redis", "botvisor over files"
ORIGINAL, ORIGINAL_ON_FILES = "original over Redis", "original over files"


async def idle(bot: Bot) -> None:
    """Wait for messages, as most bots do most of the time."""
    async for _ in bot.inbox:
        pass


async def ours(count: int, url: str, folder: Path, started: Callable[[], Awaitable[None]]) -> None:
    """Be bots by `start_bot`."""
    side_by_side = anyio.CapacityLimiter(SIDE_BY_SIDE)
    async with open_supervisor(load_settings(settings(folder, url))) as supervisor:

        async def start(number: int) -> None:
            async with side_by_side:
                await supervisor.start_bot(idle, room_url="", bot_id=f"{folder.name}-{number}")

        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(start, number)
        await started()


async def original(count: int, url: str, folder: Path, started: Callable[[], Awaitable[None]]) -> None:
    """Be bots as the original is: each beats and polls by itself, all with one client."""
    client = redis.asyncio.Redis.from_url(url, max_connections=2 * count + 1) if url else None

    async def beat(pid: int) -> None:
        while True:
            if client is not None:
                await client.hset(heartbeat_key(pid), mapping=heartbeat_fields(pid))
                await client.expire(heartbeat_key(pid), HEARTBEAT_TTL_S)
            else:
                new = folder / f"{pid}.new"
                new.write_text(json.dumps(heartbeat_fields(pid)))
                new.replace(folder / f"{pid}.json")
            await asyncio.sleep(BEAT_S)

    async def poll(pid: int) -> None:
        while True:
            if client is not None:
                await client.lpop(queue_key(pid))
                await asyncio.sleep(0.5)
            else:
                sorted((folder / "inbox").glob(f"{pid}-*.json"))
                await asyncio.sleep(1.0)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(beat(10_000 + number))
            group.create_task(poll(10_000 + number))
            if number % SIDE_BY_SIDE == 0:
                await asyncio.sleep(0.01)
        await started()


async def asked() -> bool:
    """Wait until somebody asks; return whether it was not the end."""
    await anyio.wait_readable(sys.stdin)
    return bool(os.read(sys.stdin.fileno(), 1))


async def be(name: str, count: int, url: str, folder: Path, seconds: float) -> None:
    """Be a fleet: say what its start cost, then, each time somebody asks, what a while of idling does."""
    gc.collect()
    before, began = rss_kib(), time.perf_counter()

    async def started() -> None:
        start_s = time.perf_counter() - began
        await asyncio.sleep(1.0)
        gc.collect()
        ready()
        say({"start_s": start_s, "kib": (rss_kib() - before) / count})
        while await asked():
            cpu, then = time.process_time(), time.perf_counter()
            await asyncio.sleep(seconds)
            took_s = time.perf_counter() - then
            say({"cpu": 100 * (time.process_time() - cpu) / took_s, "seconds": took_s})
        os._exit(0)  # what so many bots say at their end is of no interest here

    (folder / "inbox").mkdir(parents=True, exist_ok=True)
    run = ours if name.startswith("botvisor") else original
    await run(count, url, folder, started)


def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    name, count, url, folder, seconds = sys.argv[1:]
    asyncio.run(be(name, int(count), url, Path(folder), float(seconds)))


if __name__ == "__main__":
    main()
