"""Operations on Redis by so many callers at once: per second, and how long each takes.

An operation is, in equal shares: write a heartbeat, write an identity, read one, send an admin message. All
contenders run in one process against one private Redis, in rounds that take turns, since machines are noisy:
trust the ratios, not the rates.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .bare import LIMIT, SAME_LIMIT
from .callers import pace
from .contenders import open_field
from .operations import operations_of
from .ours import OURS
from .peers import COREDIS, GLIDE, GLIDE_BATCH, ORIGINAL, PIPELINES
from .program import Program, Progress, turns
from .tables import Aim, Result, Table

NAMES = (ORIGINAL, PIPELINES, COREDIS, GLIDE, GLIDE_BATCH, LIMIT, SAME_LIMIT, OURS)
PEERS = (ORIGINAL, PIPELINES, COREDIS, GLIDE, GLIDE_BATCH)


def column(callers: int) -> str:
    return f"{callers:,} caller{'s' if callers > 1 else ''}"


def tables() -> tuple[Table, Table, Table]:
    many, most = column(100), column(1000)
    rate = Table(title="Operations on Redis", unit="operations/s", baseline=ORIGINAL)
    rate.aims = [
        Aim(contender=OURS, column=many, against=ORIGINAL, at_least=10),
        Aim(contender=OURS, column=many, against=GLIDE, at_least=4),
        Aim(contender=SAME_LIMIT, column=many, against=OURS, at_most=2),
        Aim(contender=OURS, column=column(1), against=ORIGINAL, at_least=1.5),
    ]
    p50 = Table(title="How long an operation takes", unit="ms, p50", baseline=ORIGINAL, digits=2)
    p99 = Table(title="How long the slowest take", unit="ms, p99", baseline=ORIGINAL, digits=2)
    p99.aims = [Aim(contender=OURS, column=most, against=peer, at_most=1) for peer in PEERS]
    return rate, p50, p99


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    rate, p50, p99 = found = tables()
    async with open_field([name for name in NAMES if name in options.contenders], result) as field:
        progress = Progress("redis_operations", options.rounds * len(options.callers) * len(field.contenders))
        for _, order in turns(list(field.contenders), options.rounds):
            for callers in options.callers:
                for name in order:
                    progress.step(f"{column(callers)}, {name}")
                    await field.empty(callers)
                    operations = operations_of(field.contenders[name])
                    its = await pace(operations, callers, options.seconds)
                    for table, figure in zip(found, (its.rate, its.p50_ms, its.p99_ms), strict=True):
                        table.add(name, column(callers), figure)
        progress.close()
    for table in found:
        table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    rate.note = (
        f"{LIMIT}: the least commands, without an index, a bell or a transaction, and without deadline or "
        f"reconnect; {SAME_LIMIT.partition(', ')[2]}: what botvisor sends"
    )
    return [rate, p50, p99]


def main() -> None:
    program = Program("redis_operations", __doc__, rounds=(9, 2))
    parser = program.parser
    parser.add_argument("--callers", type=numbers, help="such as 1,100; 1,10,100,1000 by default")
    parser.add_argument("--seconds", type=float, help="a round's length")
    parser.add_argument("--contenders", type=names, default=NAMES, help=f"of: {', '.join(NAMES)}")
    program.run(lambda options, result: measure(complete(options), result))


def complete(options: argparse.Namespace) -> argparse.Namespace:
    options.callers = options.callers or ([1, 100, 1000] if options.quick else [1, 10, 100, 1000])
    options.seconds = options.seconds or (0.12 if options.quick else 1.0)
    return options


def numbers(text: str) -> list[int]:
    found = [int(number) for number in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError("at least one caller")
    return found


def names(text: str) -> list[str]:
    """Read names of contenders: a part of each will do."""
    found = [
        name for name in NAMES if any(part.strip() in name for part in text.replace(";", ",").split(","))
    ]
    if not found:
        raise argparse.ArgumentTypeError(f"none of them is one of: {', '.join(NAMES)}")
    return found


if __name__ == "__main__":
    main()
