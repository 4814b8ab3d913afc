"""From sending an admin message to the first line of `main` that has it.

Each receiver is a process of its own: a bot by `start_bot`, one of a thousand, or what is compared with it.
The sender sends one message at a time, at random moments, so that it falls into step with nobody's polling.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import redis.asyncio

from botvisor import Client, open_client
from botvisor.config import load_settings
from botvisor.testing.redis_server import open_server

from . import receivers
from .bare import Bare
from .figures import quantile
from .peers import Original
from .processes import Child
from .program import Program, Progress, settings, turns
from .tables import Aim, Result, Table

SUBSCRIBE = "bare SUBSCRIBE"
POLL = "original, polling every 0.5 s"
POLL_FILES = "original, polling files every 1 s"
REDIS_ONE, REDIS_MANY = "botvisor over Redis", "botvisor over Redis, {:,} bots"
FILES_ONE, FILES_MANY = "botvisor over files", "botvisor over files, {:,} bots"
COLUMN = "send to main"
PAUSE_S = 0.05
LIMIT_S = 30.0

Send = Callable[[str], Awaitable[None]]


class Receiver:
    """One who receives, and how one sends to it.

    Args:
        child: its process, which prints the time of each message in nanoseconds.
        send: sends a text.
        polls: it only looks now and then, so each message takes long.
    """

    def __init__(self, child: Child, send: Send, *, polls: bool = False) -> None:
        self._child = child
        self._send = send
        self.polls = polls

    async def latency_ms(self) -> float:
        """Send a message and return how long it took to arrive."""
        began = time.monotonic_ns()
        await self._send(str(began))
        said = (await asyncio.wait_for(self._child.line(), LIMIT_S)).split()
        if said[0] != str(began):
            raise AssertionError(f"{said} came in place of {began}")
        return (int(said[1]) - began) / 1e6


@contextlib.asynccontextmanager
async def open_receivers(bots: int) -> AsyncIterator[dict[str, Receiver]]:
    """Start everybody who receives; a thousand bots take some seconds."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        bare = await Bare.open(server.port)
        stack.callback(bare.close)
        client = redis.asyncio.Redis(port=server.port)
        stack.push_async_callback(client.aclose)
        original = Original(client)

        async def child(*arguments: str) -> Child:
            found = await Child.start("receivers", *arguments)
            stack.push_async_callback(found.close)
            return found

        async def publish(text: str) -> None:
            await bare.ask(("PUBLISH", receivers.CHANNEL, text))

        async def send_as_original(text: str) -> None:
            await original.send_text(receivers.POLLER_PID, text)

        (folder / "inbox").mkdir()
        found = {
            SUBSCRIBE: Receiver(await child("subscribe", server.url), publish),
            POLL: Receiver(await child("poll", server.url), send_as_original, polls=True),
            POLL_FILES: Receiver(
                await child("poll-files", str(folder / "inbox")),
                lambda text: receivers.put(folder / "inbox", text),
                polls=True,
            ),
        }
        for count, over_redis, over_files in ((1, REDIS_ONE, FILES_ONE), (bots, REDIS_MANY, FILES_MANY)):
            for name, url in ((over_redis.format(count), server.url), (over_files.format(count), "")):
                home = folder / f"{count}-{'redis' if url else 'files'}"
                its = load_settings(settings(home, url))
                operator = await stack.enter_async_context(open_client(its))
                found[name] = Receiver(
                    await child("bots", str(count), str(home), url),
                    _sender(operator, receivers.bot_id(count, url)),
                )
        yield found


def _sender(operator: Client, target: str) -> Send:
    async def send(text: str) -> None:
        await operator.send(target, text)

    return send


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    times = options.times or (5 if options.quick else 40)
    bots = options.bots or (100 if options.quick else 1000)
    table = Table(
        title="An admin message, from sending it to main", unit="ms, p50", baseline=SUBSCRIBE, digits=2
    )
    slowest = Table(title="An admin message, the slowest of a round", unit="ms", baseline=SUBSCRIBE, digits=2)
    for name in (REDIS_ONE, REDIS_MANY.format(bots)):
        table.aims.append(Aim(contender=name, column=COLUMN, against=SUBSCRIBE, at_most=2.5))
    for name in (FILES_ONE, FILES_MANY.format(bots)):
        table.aims.append(Aim(contender=name, column=COLUMN, at_most=30))
    draw = random.Random(options.seed)
    progress = Progress("admin_latency", 1 + options.rounds * 7)
    progress.step(f"starting 2 x {bots + 1:,} bots")
    async with open_receivers(bots) as everybody:
        for _, order in turns(list(everybody), options.rounds):
            for name in order:
                progress.step(name)
                receiver, taken = everybody[name], []
                for _ in range(max(times // 5, 2) if receiver.polls else times):
                    await asyncio.sleep(draw.uniform(0, PAUSE_S * (10 if receiver.polls else 1)))
                    taken.append(await receiver.latency_ms())
                table.add(name, COLUMN, quantile(taken, 0.5))
                slowest.add(name, COLUMN, max(taken))
        progress.close()
        for each in (table, slowest):
            each.rows = {name: each.rows[name] for name in everybody}
    return [table, slowest]


def main() -> None:
    program = Program("admin_latency", __doc__, rounds=(7, 2))
    program.parser.add_argument("--bots", type=int, help="in the process of many; 1000, or 100 with --quick")
    program.parser.add_argument("--times", type=int, help="messages of a round")
    program.parser.add_argument("--seed", type=int, default=1, help="of the moments at which they are sent")
    program.run(measure)


if __name__ == "__main__":
    main()
