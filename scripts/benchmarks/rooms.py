"""Listing the identities of a room of 50, among ever more keys of other rooms.

SCAN looks at every key there is, botvisor at the room's index alone. Once a minute one listing of the whole
fleet looks for what older writers left without an index, as a SCAN does, for half a second at most: that one
is shown by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import redis.asyncio

from botvisor.testing.redis_server import open_server

from .operations import DATA
from .ours import OURS, Guide, open_guide
from .program import Program, Progress, turns
from .redis_operations import numbers
from .tables import Aim, Result, Table

ROOM = "https://example.test/rooms/fifty"
PEOPLE = 50
SCAN = "SCAN, HGETALL one by one"
SCAN_FAST = "SCAN COUNT 1000, one pipeline"
BARE = "index and HGETALL by redis-py"
RECONCILES = "botvisor, once a minute"
NAMES = (SCAN, SCAN_FAST, BARE, OURS, RECONCILES)
_PATTERN = f"identity:{ROOM}:*"
_INDEX = f"identity-index:{ROOM}"
_RECONCILED = "identity-index-scan"
_FILL = """
for number = ARGV[1], ARGV[2] do
  local room = 'https://example.test/rooms/' .. math.floor(number / 50)
  redis.call('HSET', 'identity:' .. room .. ':' .. number, 'participant_id', number, 'room_url', room,
             'timestamp', '2026-01-01T00:00:00.000000+00:00', 'data', ARGV[3])
end
"""
_CHUNK = 20_000

Listing = Callable[[], Awaitable[int]]


def listings(client: redis.asyncio.Redis, guide: Guide) -> dict[str, Listing]:
    """Return how each contender lists the room."""

    async def scan() -> int:
        return len([await client.hgetall(key) async for key in client.scan_iter(match=_PATTERN)])

    async def scan_fast() -> int:
        return await read([key async for key in client.scan_iter(match=_PATTERN, count=1000)])

    async def bare() -> int:
        members = await client.zrangebyscore(_INDEX, int(time.time() * 1000), "+inf")
        return await read([f"identity:{ROOM}:{member.decode()}" for member in members])

    async def read(keys: Sequence[bytes | str]) -> int:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        return len(await pipeline.execute())

    async def ours() -> int:
        return len(await guide.client.scan_identities(ROOM))

    return {SCAN: scan, SCAN_FAST: scan_fast, BARE: bare, OURS: ours}


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    sizes = sorted(options.keys or ([1000, 10_000] if options.quick else [10_000, 100_000, 1_000_000]))
    columns = {size: f"{size:,} keys" for size in sizes}
    table = Table(title=f"Listing a room of {PEOPLE}", unit="ms", baseline=SCAN, digits=2)
    flat = Table(
        title=f"Listing a room of {PEOPLE} as the keys grow",
        unit=f"x {columns[sizes[0]]}",
        baseline="",
        digits=2,
    )
    flat.aims = [Aim(contender=OURS, column=columns[sizes[-1]], at_most=1.5)]
    progress = Progress("rooms", len(sizes) * options.rounds * len(NAMES))
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        client = redis.asyncio.Redis(port=server.port)
        stack.push_async_callback(client.aclose)
        guide = await stack.enter_async_context(open_guide(folder, server.url))
        for person in range(PEOPLE):
            await guide.client.write_identity(ROOM, f"p-{person}", DATA)
        everybody, there = listings(client, guide), 0
        turn_of = [*everybody, RECONCILES]
        for size in sizes:
            await fill(client, there, size - PEOPLE)
            there = size - PEOPLE
            for lap, order in turns(turn_of, options.rounds):
                for name in order:
                    progress.step(f"{columns[size]}, {name}")
                    if name == RECONCILES:
                        took_ms = await first_listing_ms(client, folder / f"{size}-{lap}", server.url)
                    else:
                        await client.set(_RECONCILED, "1", ex=60)
                        took_ms = await listing_ms(everybody[name])
                    table.add(name, columns[size], took_ms)
    progress.close()
    table.rows = {name: table.rows[name] for name in NAMES}
    for name in NAMES:
        for size in sizes[1:]:
            few, many = table.figure(name, columns[sizes[0]]), table.figure(name, columns[size])
            if few and many:
                flat.add(name, columns[size], many.median / few.median)
    return [table, flat]


async def fill(client: redis.asyncio.Redis, first: int, last: int) -> None:
    """Write identities of other rooms, in the server itself."""
    for start in range(first, last, _CHUNK):
        await client.eval(_FILL, 0, start, min(start + _CHUNK, last) - 1, '{"sessionUserName":"Ann"}')


async def listing_ms(listing: Listing) -> float:
    """Return how long a listing takes, in milliseconds."""
    began = time.perf_counter()
    if await listing() != PEOPLE:
        raise AssertionError("not all of the room were found")
    return (time.perf_counter() - began) * 1000


async def first_listing_ms(client: redis.asyncio.Redis, folder: Path, url: str) -> float:
    """Return how long the listing takes that looks for what has no index, in milliseconds."""
    async with open_guide(folder, url) as guide:  # a client looks once a minute
        await guide.client.ping()
        await client.delete(_RECONCILED)
        return await listing_ms(listings(client, guide)[OURS])


def main() -> None:
    program = Program("rooms", __doc__, rounds=(5, 3))
    program.parser.add_argument("--keys", type=numbers, help="such as 10000,100000")
    program.run(measure)


if __name__ == "__main__":
    main()
