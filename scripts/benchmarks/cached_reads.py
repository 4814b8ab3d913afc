"""Reading an identity that a bot has read or written lately, beside reading it from Redis.

A bot's identities come from its own memory; another process that writes one rings a bell, and the next read
asks Redis again.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import redis.asyncio

from botvisor import open_bot
from botvisor.config import load_settings
from botvisor.testing.redis_server import open_server

from .operations import DATA, ROOM
from .ours import open_guide
from .peers import Original
from .program import Program, Progress, settings, turns
from .tables import Aim, Result, Table

PID, PERSON = 1, "1"
COLUMN = "a read"
READ = "HGETALL by redis-py"
GUIDE = "botvisor, from Redis"
CACHED = "botvisor, bot.identities.read"
PLAIN = "a dict of the caller's own"
NAMES = (READ, GUIDE, CACHED, PLAIN)


async def each_us(read: Callable[[], Awaitable[object]], seconds: float) -> float:
    """Return how long one read takes, in microseconds, doing nothing else for a while."""
    count, done, began = 1, 0, time.perf_counter()
    while (took_s := time.perf_counter() - began) < seconds:
        for _ in range(count):
            await read()
        done += count
        count = min(count * 2, 500)
    return took_s / done * 1e6


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    seconds = options.seconds or (0.1 if options.quick else 0.5)
    table = Table(title="Reading an identity", unit="us", baseline=CACHED, digits=2)
    table.aims = [
        Aim(contender=READ, column=COLUMN, against=CACHED, at_least=500),
        Aim(contender=GUIDE, column=COLUMN, against=CACHED, at_least=500),
    ]
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        client = redis.asyncio.Redis(port=server.port)
        stack.push_async_callback(client.aclose)
        original = Original(client)
        guide = await stack.enter_async_context(open_guide(folder / "guide", server.url))
        its = load_settings(settings(folder / "bot", server.url))
        bot = await stack.enter_async_context(open_bot(room_url=ROOM, bot_id="bench", settings=its))
        await bot.identities.write(PERSON, DATA)
        kept = {"1": dict(DATA)}

        async def from_dict() -> dict[str, str]:
            return dict(kept["1"])

        reads: dict[str, Callable[[], Awaitable[object]]] = {
            READ: lambda: original.read_identity(PID),
            GUIDE: lambda: guide.read_identity(PID),
            CACHED: lambda: bot.identities.read(PERSON),
            PLAIN: from_dict,
        }
        progress = Progress("cached_reads", options.rounds * len(reads))
        for _, order in turns(list(reads), options.rounds):
            for name in order:
                progress.step(name)
                table.add(name, COLUMN, await each_us(reads[name], seconds))
        progress.close()
    table.rows = {name: table.rows[name] for name in NAMES}
    return [table]


def main() -> None:
    program = Program("cached_reads", __doc__, rounds=(9, 3))
    program.parser.add_argument("--seconds", type=float, help="a round's length")
    program.run(measure)


if __name__ == "__main__":
    main()
