"""Redis operations per second, beside the original pattern: redis-py, one `await` per command.

An operation is, in equal shares: write a heartbeat, write an identity, read one, send an admin message. All
contenders run in one process against one private Redis, in rounds that take turns, since machines are noisy:
trust the ratios, not the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import redis.asyncio
from loguru import logger

from botvisor.compat.redis_client import RedisClient, get_redis_client
from botvisor.testing.redis_server import open_server

ROOM = "https://example.test/rooms/bench"
PARTICIPANTS = ("ann", "bob")
DATA = {"sessionUserId": "u-1", "sessionUserName": "Ann", "sessionUserEmail": "ann@example.test"}
WARM_UP_S = 0.1


class Contender(Protocol):
    """Carries operations out. A pid stands for a bot, and for a participant of its room."""

    async def heartbeat(self, pid: int) -> None: ...

    async def write_identity(self, pid: int) -> None: ...

    async def read_identity(self, pid: int) -> None: ...

    async def send(self, pid: int) -> None: ...


class Original:
    """redis-py, one `await` per command: what botvisor is compared with."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis: Any = client  # typed upstream as if it might not be asynchronous

    async def heartbeat(self, pid: int) -> None:
        await self._redis.hset(f"heartbeat:{pid}", mapping=heartbeat_fields(pid))
        await self._redis.expire(f"heartbeat:{pid}", 30)

    async def write_identity(self, pid: int) -> None:
        await self._redis.hset(f"identity:{ROOM}:{pid}", mapping=identity_fields(pid))
        await self._redis.expire(f"identity:{ROOM}:{pid}", 86_400)

    async def read_identity(self, pid: int) -> None:
        check_identity(await self._redis.hgetall(f"identity:{ROOM}:{pid}"))

    async def send(self, pid: int) -> None:
        message = admin_message(pid)
        await self._redis.rpush(f"admin:queue:{pid}", message)
        await self._redis.expire(f"admin:queue:{pid}", 3600)
        await self._redis.publish(f"admin:bot:{pid}", message)


class Pipelines(Original):
    """redis-py, the commands of an operation in one transaction: what the original could be."""

    async def heartbeat(self, pid: int) -> None:
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(f"heartbeat:{pid}", mapping=heartbeat_fields(pid))
            pipeline.expire(f"heartbeat:{pid}", 30)
            await pipeline.execute()

    async def write_identity(self, pid: int) -> None:
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(f"identity:{ROOM}:{pid}", mapping=identity_fields(pid))
            pipeline.expire(f"identity:{ROOM}:{pid}", 86_400)
            await pipeline.execute()

    async def send(self, pid: int) -> None:
        message = admin_message(pid)
        async with self._redis.pipeline() as pipeline:
            pipeline.rpush(f"admin:queue:{pid}", message)
            pipeline.expire(f"admin:queue:{pid}", 3600)
            pipeline.publish(f"admin:bot:{pid}", message)
            await pipeline.execute()


class Botvisor:
    """botvisor, with everything it does besides: indexes, the doorbell, the breaker, the deadline."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def heartbeat(self, pid: int) -> None:
        await self._client.send_heartbeat(pid, ROOM, PARTICIPANTS)

    async def write_identity(self, pid: int) -> None:
        await self._client.write_identity(ROOM, str(pid), DATA)

    async def read_identity(self, pid: int) -> None:
        identity = await self._client.read_identity(ROOM, str(pid))
        if identity is None or identity["sessionUserName"] != "Ann":
            raise AssertionError(identity)

    async def send(self, pid: int) -> None:
        await self._client.send_admin_message(pid, "hello")


def now() -> str:
    return datetime.now(UTC).isoformat()


def heartbeat_fields(pid: int) -> dict[str, Any]:
    people = json.dumps(PARTICIPANTS)
    return {"pid": pid, "room_url": ROOM, "participants": people, "timestamp": now()}


def identity_fields(pid: int) -> dict[str, Any]:
    return {"participant_id": str(pid), "room_url": ROOM, "timestamp": now(), "data": json.dumps(DATA)}


def check_identity(fields: dict[bytes, bytes]) -> None:
    if json.loads(fields[b"data"])["sessionUserName"] != "Ann":
        raise AssertionError(fields)


def admin_message(pid: int) -> str:
    return json.dumps({"type": "admin_message", "message": "hello", "room_url": "", "timestamp": now()})


async def measure(contender: Contender, callers: int, seconds: float) -> float:
    """Return the operations per second of so many callers at once."""
    done = 0
    ends_at = 0.0

    async def call(pid: int) -> None:
        nonlocal done
        operations = [contender.heartbeat, contender.write_identity, contender.read_identity, contender.send]
        for operation in operations:  # so that every one finds what it needs
            await operation(pid)
        # Callers are in different operations at one time.
        for operation in itertools.islice(itertools.cycle(operations), pid % 4, None):
            await operation(pid)
            done += 1
            if time.perf_counter() >= ends_at:
                return

    gc.collect()
    began = time.perf_counter() + WARM_UP_S
    ends_at = began + seconds
    async with asyncio.TaskGroup() as group:
        for pid in range(10_000, 10_000 + callers):
            group.create_task(call(pid))
        await asyncio.sleep(began - time.perf_counter())
        began, done = time.perf_counter(), 0
    return done / (time.perf_counter() - began)


@contextlib.asynccontextmanager
async def open_botvisor(url: str, folder: Path) -> AsyncIterator[Botvisor]:
    for name in [name for name in os.environ if name.startswith(("BOT_", "REDIS_"))]:
        del os.environ[name]  # settings of somebody else's
    os.environ.update(
        USE_REDIS="true",
        REDIS_URL=url,
        BOT_ADMIN_MESSAGE_DIR=str(folder / "admin"),
        BOT_HEARTBEAT_DIR=str(folder / "heartbeat"),
        BOT_IDENTITY_DIR=str(folder / "identity"),
    )
    client = await get_redis_client()
    try:
        yield Botvisor(client)
    finally:
        await client.close()


async def run(options: argparse.Namespace) -> dict[str, Any]:
    rates: dict[str, dict[int, list[float]]] = {}
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        # Its default pool refuses the 101st caller.
        client = redis.asyncio.Redis(port=server.port, max_connections=10_000)
        stack.push_async_callback(client.aclose)
        contenders: dict[str, Contender] = {
            "original pattern": Original(client),
            "redis-py pipelines": Pipelines(client),
            "botvisor": await stack.enter_async_context(open_botvisor(server.url, folder)),
        }
        rates = {name: {callers: [] for callers in options.callers} for name in contenders}
        steps = [(lap, callers) for lap in range(options.rounds) for callers in options.callers]
        for step, (lap, callers) in enumerate(steps, 1):
            print(f"\rround {step} of {len(steps)}: {callers} callers  ", end="", file=sys.stderr, flush=True)
            turn = lap % len(contenders)  # nobody is always first
            for name in [*contenders, *contenders][turn : turn + len(contenders)]:
                await client.flushdb()
                rates[name][callers].append(await measure(contenders[name], callers, options.seconds))
        print(file=sys.stderr)
        version = (await client.info("server"))["redis_version"]
    facts = {"python": platform.python_version(), "redis_py": redis.__version__, "redis": version}
    times = {
        name: {callers: statistics.median(ratios(rates, name, callers)) for callers in options.callers}
        for name in rates
    }
    return {**facts, "loop": options.loop, "seconds": options.seconds, "ratios": times, "rates": rates}


def ratios(rates: dict[str, dict[int, list[float]]], name: str, callers: int) -> list[float]:
    """Return how often a contender did what the original did in the same round."""
    pairs = zip(rates[name][callers], rates["original pattern"][callers], strict=True)
    return [rate / original for rate, original in pairs]


def table(result: dict[str, Any]) -> str:
    rates = result["rates"]
    counts = list(rates["original pattern"])
    versions = [result["python"], result["loop"], result["redis_py"], result["redis"]]
    rounds = len(rates["original pattern"][counts[0]])
    lines = [
        f"Operations on Redis, x the original pattern: median (least-most) of {rounds} rounds, operations/s",
        "Python {}, {}, redis-py {}, Redis {}\n".format(*versions),
        f"{'':20}" + "".join(f"{'callers: ' + str(callers):>30}" for callers in counts),
    ]
    for name in rates:
        cells = []
        for callers in counts:
            found = ratios(rates, name, callers)
            spread = f"({min(found):.1f}-{max(found):.1f})"
            rate = statistics.median(rates[name][callers])
            cells.append(f"{statistics.median(found):.2f} {spread} {f'{rate:,.0f}/s':>9}")
        lines.append(f"{name:20}" + "".join(f"{cell:>30}" for cell in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench",
        description=__doc__,
        epilog="./scripts/bench fleet measures `botvisor ps`, "
        "./scripts/bench watchdog what watching the event loop costs.",
    )
    parser.add_argument("--callers", default="1,10,100,1000", help="such as 1,100")
    parser.add_argument("--rounds", type=int, default=9, help="of each contender at each number of callers")
    parser.add_argument("--seconds", type=float, default=1.0, help="a round's length")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--quick", action="store_true", help="seven short rounds, at 1 and 100 callers")
    parser.add_argument("--json", action="store_true", help="print every round as JSON in place of the table")
    options = parser.parse_args()
    options.callers = [int(count) for count in options.callers.split(",")]
    if options.quick:
        options.callers, options.rounds, options.seconds = [1, 100], 7, 0.5
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
    if options.loop == "uvloop":
        import uvloop

        new_loop = uvloop.new_event_loop
    logger.remove()
    logger.add(sys.stderr, level="WARNING")  # the original says nothing of what succeeds
    with asyncio.Runner(loop_factory=new_loop) as runner:
        result = runner.run(run(options))
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
