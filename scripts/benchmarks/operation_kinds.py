"""Each kind of operation by itself, by a hundred callers: through the guide's client, and as bots have it.

A bot's heartbeats are its own affair, and its reads are cached (./scripts/bench cached_reads): so of
botvisor's own API two kinds are left.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .bare import LIMIT, SAME_LIMIT
from .callers import pace
from .contenders import open_field
from .operations import KINDS
from .ours import OUR_API, OURS, open_api
from .peers import GLIDE_BATCH, ORIGINAL, PIPELINES
from .program import Program, Progress, turns
from .tables import Result, Table

NAMES = (ORIGINAL, PIPELINES, GLIDE_BATCH, LIMIT, SAME_LIMIT, OURS)


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    seconds = options.seconds or (0.05 if options.quick else 0.7)
    table = Table(
        title=f"One kind of operation, {options.callers:,} callers", unit="operations/s", baseline=ORIGINAL
    )
    async with open_field(NAMES, result) as field, open_api(field.folder / "bot", field.server.url) as api:
        everybody = {**field.contenders, OUR_API: api}
        steps = [(kind, order) for _, order in turns(list(everybody), options.rounds) for kind in KINDS]
        progress = Progress("operation_kinds", len(steps) * len(everybody))
        for kind, order in steps:
            for name in order:
                progress.step(f"{kind}, {name}")
                operation = getattr(everybody[name], kind, None)
                if operation is not None:
                    await field.empty(options.callers)
                    its = await pace([operation], options.callers, seconds)
                    table.add(name, kind.replace("_", " "), its.rate)
        progress.close()
    table.rows = {name: table.rows[name] for name in (*NAMES, OUR_API) if name in table.rows}
    return [table]


def main() -> None:
    program = Program("operation_kinds", __doc__, rounds=(7, 2))
    program.parser.add_argument("--callers", type=int, default=100, help="how many at once; 100 by default")
    program.parser.add_argument("--seconds", type=float, help="a round's length")
    program.run(measure)


if __name__ == "__main__":
    main()
