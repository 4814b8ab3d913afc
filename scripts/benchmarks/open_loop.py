"""Operations that arrive by themselves, at random, whether or not the earlier ones are done.

So does the work of bots arrive. Measured are the client's processor time, how long the slowest operations
take from their arrival on, and what fails. The original pattern has redis-py's default pool here, as it
always did, which refuses the 101st operation at one time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from .bare import LIMIT
from .contenders import Field, open_field
from .figures import quantile
from .operations import FIRST_PID, Operation, operations_of
from .ours import OURS
from .peers import GLIDE, ORIGINAL, Original, open_redis_py
from .program import Program, Progress, turns
from .redis_operations import numbers
from .tables import Aim, Result, Table

NAMES = (ORIGINAL, GLIDE, LIMIT, OURS)
BOTS = 1000
DRAIN_S = 1.0
HALF_RATE, FULL_RATE = 3000, 8000


class Flow(NamedTuple):
    """How a round of arrivals went."""

    cpu: float
    """per cent of a core, of the client alone"""
    each_us: float
    """the client's processor time, in microseconds, for each operation that was done"""
    p99_ms: float
    errors: float
    """per cent of all, with those that were not done a second after the last arrival"""


async def flow(operations: Sequence[Operation], rate: int, seconds: float, seed: int) -> Flow:
    """Let operations arrive at a rate for a while.

    Args:
        operations: their kinds, in turn.
        rate: arrivals per second, on average.
        seconds: for how long.
        seed: of the arrivals.
    """
    draw, times_s, failed = random.Random(seed), [], 0
    tasks: set[asyncio.Task[None]] = set()

    async def carry_out(number: int, due: float) -> None:
        nonlocal failed
        try:
            await operations[number % len(operations)](FIRST_PID + number % BOTS)
        except Exception:  # whatever a contender fails with: it was not done
            failed += 1
        else:
            times_s.append(time.perf_counter() - due)

    gc.collect()
    before, began = time.process_time(), time.perf_counter()
    due, arrived = began + draw.expovariate(rate), 0
    while (now := time.perf_counter()) < began + seconds:
        while due <= now:
            task = asyncio.create_task(carry_out(arrived, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            arrived += 1
            due += draw.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
    cpu = (time.process_time() - before) / (time.perf_counter() - began)
    if tasks:
        await asyncio.wait(tasks, timeout=DRAIN_S)
    each_us = (time.process_time() - before) * 1e6 / max(len(times_s), 1)
    late = len(tasks)
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Flow(cpu * 100, each_us, quantile(times_s, 0.99) * 1000, 100 * (failed + late) / max(arrived, 1))


def column(rate: int) -> str:
    return f"{rate:,}/s"


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    cpu = Table(title="Open loop: the client's processor", unit="% of a core", baseline=ORIGINAL)
    cpu.aims = [Aim(contender=OURS, column=column(HALF_RATE), against=ORIGINAL, at_most=0.5)]
    each = Table(
        title="Open loop: the client's processor, for each operation done", unit="us", baseline=ORIGINAL
    )
    p99 = Table(title="Open loop: how long the slowest take", unit="ms, p99", baseline=ORIGINAL, digits=2)
    errors = Table(title="Open loop: what fails", unit="% of all", baseline="", digits=1)
    errors.aims = [Aim(contender=OURS, column=column(FULL_RATE), at_most=0)]
    async with open_field(NAMES, result) as field, open_redis_py(field.server.port, limited=True) as client:
        field.contenders[ORIGINAL] = Original(client)
        steps = [
            (lap, order, rate)
            for lap, order in turns(list(field.contenders), options.rounds)
            for rate in options.rates
        ]
        progress = Progress("open_loop", len(steps) * len(field.contenders))
        for lap, order, rate in steps:
            for name in order:
                progress.step(f"{column(rate)}, {name}")
                its = await one(field, name, rate, options.seconds, lap)
                for table, figure in zip((cpu, each, p99, errors), its, strict=True):
                    table.add(name, column(rate), figure)
        progress.close()
    for table in (cpu, each, p99, errors):
        table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    return [cpu, each, p99, errors]


async def one(field: Field, name: str, rate: int, seconds: float, seed: int) -> Flow:
    await field.empty(BOTS)
    operations = operations_of(field.contenders[name])
    await asyncio.gather(*(operation(FIRST_PID) for operation in operations))
    return await flow(operations, rate, seconds, seed)


def main() -> None:
    program = Program("open_loop", __doc__, rounds=(7, 2))
    default = f"{HALF_RATE},{FULL_RATE} by default"
    program.parser.add_argument(
        "--rates", type=numbers, default=[HALF_RATE, FULL_RATE], help=f"arrivals/s; {default}"
    )
    program.parser.add_argument("--seconds", type=float, help="a round's length")

    def ready(options: argparse.Namespace) -> argparse.Namespace:
        options.seconds = options.seconds or (0.3 if options.quick else 3.0)
        return options

    program.run(lambda options, result: measure(ready(options), result))


if __name__ == "__main__":
    main()
