"""What bots and messages cost the Redis that they share: its commands, and its processor time.

The server tells both itself (INFO). What it costs the bots is in other benchmarks.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import anyio

from botvisor import Bot, open_client, open_supervisor
from botvisor.config import load_settings
from botvisor.testing.redis_server import RedisServer, open_server

from .fleets import OURS
from .processes import Child
from .program import Program, Progress, settings
from .tables import Result, Table

ALONE, TOGETHER = "a bot in its own process", "one of {:,} bots of a process"
MESSAGE, MESSAGES, IDENTITY = "a message by itself", "one of 100 messages at a time", "an identity written"
COMMANDS, PROCESSOR = "commands", "us of the server"
AT_ONCE = 100
LIMIT_S = 30.0
ROOM = "https://bench.test/room"


class Meter:
    """What a server has carried out, and how long its processor took for it."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._before = self._read()
        self._began = time.perf_counter()

    def _read(self) -> tuple[int, float]:
        lines = self._server.talk(b"INFO\r\n").decode().splitlines()
        facts = dict(line.partition(":")[::2] for line in lines)
        processor = float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])
        return int(facts["total_commands_processed"]), processor * 1e6

    def read(self) -> tuple[int, float, float]:
        """Return the commands, the processor's us and the seconds since the meter began."""
        commands, processor = self._read()
        seconds = time.perf_counter() - self._began
        return commands - self._before[0] - 1, processor - self._before[1], seconds  # INFO is one of them


@contextlib.asynccontextmanager
async def fleet(server: RedisServer, processes: int, bots: int) -> AsyncIterator[None]:
    """Run so many processes of so many bots each."""
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        for number in range(processes):
            its = str(Path(folder, str(number)))
            child = await Child.start("fleets", OURS, str(bots), server.url, its, "1")
            stack.push_async_callback(child.close)
            await child.found()
        yield


async def idling(seconds: float) -> tuple[float, float]:
    """Return what a server without clients needs by itself in a second: commands and us."""
    async with open_server() as server:
        meter = Meter(server)
        await anyio.sleep(seconds)
        commands, processor, took_s = meter.read()
    return commands / took_s, processor / took_s


class Readers:
    """Bots that read, all together so many messages."""

    def __init__(self) -> None:
        self._wanted = 0
        self._reached = anyio.Event()

    async def __call__(self, bot: Bot) -> None:
        """Be the `main` of one."""
        async for _ in bot.inbox:
            self._wanted -= 1
            if self._wanted <= 0:
                self._reached.set()

    def expect(self, count: int) -> anyio.Event:
        """Return what is set once so many more have been read."""
        self._wanted, self._reached = count, anyio.Event()
        if not count:
            self._reached.set()
        return self._reached


async def each_operation(count: int) -> dict[str, tuple[float, float]]:
    """Return what operations cost a server, each: commands and us."""
    found = {}
    async with open_server() as server:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            async with (
                open_supervisor(load_settings(settings(Path(folder, "bots"), server.url))) as bots,
                open_client(load_settings(settings(Path(folder, "senders"), server.url))) as client,
            ):
                readers = Readers()
                names = [f"b{number}" for number in range(AT_ONCE)]
                handles = [await bots.start_bot(readers, room_url=ROOM, bot_id=name) for name in names]

                async def send(number: int) -> None:
                    await client.send(names[number % AT_ONCE], f"text {number}")

                async def write(number: int) -> None:
                    await handles[0].bot.identities.write(f"p{number % AT_ONCE}", {"name": str(number)})

                for name, work, together, read in (
                    (MESSAGE, send, 1, count),
                    (MESSAGES, send, AT_ONCE, count),
                    (IDENTITY, write, 1, 0),
                ):
                    all_read, meter = readers.expect(read), Meter(server)
                    await many(work, count, together)
                    with anyio.fail_after(LIMIT_S):
                        await all_read.wait()
                    commands, processor, _ = meter.read()
                    found[name] = commands / count, processor / count
    return found


async def many(work: Callable[[int], Coroutine[Any, Any, None]], count: int, together: int) -> None:
    """Do something so often, so many at a time."""
    for start in range(0, count, together):
        async with anyio.create_task_group() as group:
            for number in range(start, min(start + together, count)):
                group.start_soon(work, number)


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    seconds = options.seconds or (1.5 if options.quick else 60.0)
    alone, together, count = (3, 20, 200) if options.quick else (20, 1000, 5000)
    idle = Table(title="Idle bots on one Redis", unit="per second and bot", baseline="", digits=2)
    idle.note = f"over {seconds:g} s; a heartbeat every 10 s; what an empty server needs is taken off"
    each = Table(title="Operations on one Redis", unit="each", baseline="", digits=1)
    progress = Progress("redis_load", options.rounds * 3)
    for _ in range(options.rounds):
        progress.step("an empty server")
        _, by_itself = await idling(min(seconds, 10.0))
        for name, processes, bots in ((ALONE, alone, 1), (TOGETHER.format(together), 1, together)):
            progress.step(name)
            async with open_server("maxclients 20000") as server, fleet(server, processes, bots):
                meter = Meter(server)
                await anyio.sleep(seconds)
                commands, processor, took_s = meter.read()
            idle.add(name, COMMANDS, commands / took_s / (processes * bots))
            idle.add(name, PROCESSOR, (processor / took_s - by_itself) / (processes * bots))
        for name, (commands_each, processor_each) in (await each_operation(count)).items():
            each.add(name, COMMANDS, commands_each)
            each.add(name, PROCESSOR, processor_each)
    progress.close()
    return [idle, each]


def main() -> None:
    program = Program("redis_load", __doc__, rounds=(3, 1))
    program.parser.add_argument("--seconds", type=float, help="of idling, in each round")
    program.run(measure)


if __name__ == "__main__":
    main()
