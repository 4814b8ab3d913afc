"""A process that receives messages, and prints each with the time at which it had it."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import anyio
import hiredis
import redis.asyncio
from loguru import logger

from botvisor import Bot, open_supervisor
from botvisor.config import load_settings

from .operations import queue_key
from .processes import ready
from .program import settings

CHANNEL = "bench:bare"
POLLER_PID = 4_000_001
POLL_S = 0.5
POLL_FILES_S = 1.0
SIDE_BY_SIDE = 50  # bots that start at one time

_numbers = itertools.count()


def bot_id(count: int, url: str) -> str:
    """Return the id of the bot that is sent to, in a process of so many."""
    return f"bench-{count}-{'redis' if url else 'files'}"


async def put(folder: Path, text: str) -> None:
    """Put a message into a folder, as the original does."""
    name = f"{time.time_ns()}-{next(_numbers)}.json"
    (folder / f"{name}.new").write_text(text)
    (folder / f"{name}.new").replace(folder / name)


def had(text: str) -> None:
    """Print a message's text and the time."""
    now = time.monotonic_ns()
    print(text, now, flush=True)


async def subscribe(url: str) -> None:
    """Hear a channel on a bare connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(hiredis.pack_command(("SUBSCRIBE", CHANNEL)))
    parser = hiredis.Reader()
    while data := await reader.read(65536):
        parser.feed(data)
        while (reply := parser.gets()) is not False:
            if reply[0] == b"message":
                had(reply[2].decode())
            else:
                ready()


async def poll(url: str) -> None:
    """Look into a queue now and then, as the original does."""
    client = redis.asyncio.Redis.from_url(url)
    ready()
    while True:
        while (text := await client.lpop(queue_key(POLLER_PID))) is not None:
            had(text.decode())
        await asyncio.sleep(POLL_S)


async def poll_files(folder: Path) -> None:
    """Look into a folder now and then, as the original does."""
    ready()
    while True:
        for file in sorted(folder.glob("*.json")):  # noqa: ASYNC240 - as the original does
            had(file.read_text())
            file.unlink()
        await asyncio.sleep(POLL_FILES_S)


async def bots(count: int, folder: Path, url: str) -> None:
    """Be so many bots; the first of them is sent to."""

    async def main(bot: Bot) -> None:
        async for message in bot.inbox:
            had(message.text)

    first, left = bot_id(count, url), anyio.CapacityLimiter(SIDE_BY_SIDE)
    async with open_supervisor(load_settings(settings(folder, url))) as supervisor:

        async def start(name: str) -> None:
            async with left:
                await supervisor.start_bot(main, bot_id=name)

        async with anyio.create_task_group() as group:
            group.start_soon(start, first)
            for number in range(1, count):
                group.start_soon(start, f"{first}-{number}")
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            ready()
            async for _ in signals:
                os._exit(0)  # what a thousand bots say at their end is of no interest here


def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="ERROR")
    kind, *arguments = sys.argv[1:]
    if kind == "subscribe":
        asyncio.run(subscribe(arguments[0]))
    elif kind == "poll":
        asyncio.run(poll(arguments[0]))
    elif kind == "poll-files":
        asyncio.run(poll_files(Path(arguments[0])))
    else:
        count, folder, url = arguments
        asyncio.run(bots(int(count), Path(folder), url))


if __name__ == "__main__":
    main()
