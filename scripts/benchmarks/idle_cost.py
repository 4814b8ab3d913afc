"""What one idle bot costs: processor time, and Redis commands per minute.

Each contender is a process of its own with a Redis of its own, and all of them idle at the same time.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from botvisor.testing.redis_server import RedisServer, open_server

from .fleets import ORIGINAL, ORIGINAL_ON_FILES, OURS, OURS_ON_FILES
from .processes import Child
from .program import Program, Progress
from .tables import Result, Table

NAMES = (ORIGINAL, OURS, ORIGINAL_ON_FILES, OURS_ON_FILES)
SETTLE_S = 1.0
OURS_TO_ASK = 1  # the INFO itself


def commands(server: RedisServer) -> int:
    """Return how many commands a server has carried out."""
    lines = server.talk(b"INFO stats\r\n").decode().splitlines()
    return next(int(line.partition(":")[2]) for line in lines if line.startswith("total_commands_processed"))


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    seconds = options.seconds or (4.0 if options.quick else 60.0)
    cpu = Table(title="An idle bot", unit="% of a core", baseline=ORIGINAL, digits=3)
    asked = Table(title="An idle bot", unit="Redis commands per minute", baseline=ORIGINAL)
    memory = Table(title="An idle bot: memory beyond that of its imports", unit="KiB", baseline=ORIGINAL)
    progress = Progress("idle_cost", options.rounds)
    async with contextlib.AsyncExitStack() as stack:
        everybody: dict[str, tuple[Child, RedisServer]] = {}
        for name in NAMES:
            server = await stack.enter_async_context(open_server())
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
            url = "" if name.endswith("files") else server.url
            child = await Child.start("fleets", name, "1", url, str(Path(folder, "its")), str(seconds))
            stack.push_async_callback(child.close)
            everybody[name] = child, server
            memory.add(name, "a bot", (await child.found())["kib"])
        for _ in range(options.rounds):
            progress.step(f"idling for {seconds:g} s")
            before = {name: commands(server) for name, (_, server) in everybody.items()}
            for child, _ in everybody.values():
                child.ask()
            for name, (child, server) in everybody.items():
                found = await child.found()
                cpu.add(name, "processor", found["cpu"])
                if not name.endswith("files"):
                    count = commands(server) - before[name] - OURS_TO_ASK
                    asked.add(name, "commands", count * 60 / found["seconds"])
        progress.close()
    return [cpu, asked, memory]


def main() -> None:
    program = Program("idle_cost", __doc__, rounds=(5, 1))
    program.parser.add_argument("--seconds", type=float, help="of idling, in each round")
    program.run(measure)


if __name__ == "__main__":
    main()
