"""Many bots in one process: the processor time of their heartbeats, the memory and the start of each.

All are idle. The original's bots are two tasks each, one that beats and one that polls; none is restarted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from botvisor.testing.redis_server import open_server

from .fleets import ORIGINAL, OURS, OURS_ON_FILES
from .processes import Child
from .program import Program, Progress, turns
from .redis_operations import numbers
from .tables import Result, Table

NAMES = (ORIGINAL, OURS, OURS_ON_FILES)
GRACE_S = 20.0  # for an answer after twice the time of idling


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    counts = options.bots or ([100] if options.quick else [1000, 10_000])
    seconds = options.seconds or (2.0 if options.quick else 30.0)
    cpu = Table(title="Idle bots in one process", unit="% of a core", baseline=ORIGINAL, digits=1)
    memory = Table(title="Idle bots in one process: memory", unit="KiB each", baseline=ORIGINAL, digits=1)
    start = Table(title="Starting bots in one process", unit="ms each", baseline="", digits=2)
    cpu.note = f"over {seconds:g} s; a heartbeat every 10 s"
    overloaded: dict[tuple[str, str], None] = {}
    progress = Progress("many_bots", len(counts) * options.rounds * len(NAMES))
    for count in counts:
        column = f"{count:,} bots"
        for _, order in turns(NAMES, options.rounds):
            for name in order:
                progress.step(f"{column}, {name}")
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    async with open_server("maxclients 20000") as server:
                        url = "" if name == OURS_ON_FILES else server.url
                        child = await Child.start(
                            "fleets", name, str(count), url, str(Path(folder)), str(seconds)
                        )
                        try:
                            began = await child.found()
                            child.ask()
                            idled = await child.found(2 * seconds + GRACE_S)
                        except TimeoutError:
                            overloaded[name, column] = None
                            continue
                        finally:
                            await child.close()
                cpu.add(name, column, idled["cpu"])
                memory.add(name, column, began["kib"])
                if name != ORIGINAL:
                    start.add(name, column, began["start_s"] / count * 1000)
    progress.close()
    for name, column in overloaded:
        cpu.note += f"; {name} did not come to answer with {column}"
    for table in (cpu, memory, start):
        for name, column in overloaded:
            table.rows.get(name, {}).pop(column, None)
        table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    return [cpu, memory, start]


def main() -> None:
    program = Program("many_bots", __doc__, rounds=(3, 1))
    program.parser.add_argument("--bots", type=numbers, help="such as 1000,10000")
    program.parser.add_argument("--seconds", type=float, help="of idling, in each round")
    program.run(measure)


if __name__ == "__main__":
    main()
