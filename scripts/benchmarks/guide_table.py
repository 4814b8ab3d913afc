"""The guide's own table: a heartbeat, an identity and an admin message, over Redis and over files.

One caller does one thing after the other. The original over files writes a temporary file and renames it, and
syncs nothing; botvisor syncs what must not be lost, an admin message and its directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from .contenders import open_field
from .figures import quantile
from .operations import (
    DATA,
    FIRST_PID,
    Contender,
    admin_message,
    check_identity,
    heartbeat_fields,
    identity_fields,
)
from .ours import OURS, open_guide
from .peers import ORIGINAL
from .program import Program, Progress, turns
from .tables import Result, Table

OUR_FILES = "botvisor over files"
OUR_REDIS = "botvisor over Redis"
THEIR_FILES = "original pattern over files"
THEIR_REDIS = "original pattern over Redis"
ROWS = (OUR_FILES, OUR_REDIS, THEIR_FILES, THEIR_REDIS)
COLUMNS = {
    "heartbeat": "heartbeat send",
    "write_identity": "identity write",
    "read_identity": "identity read",
    "send": "admin message",
}


class OriginalFiles:
    """What the original does without Redis: JSON in files, put into place by renaming."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("beats", "identities", "queue"):
            (folder / name).mkdir()

    async def heartbeat(self, pid: int) -> None:
        self._write(self._folder / "beats" / f"{pid}.json", json.dumps(heartbeat_fields(pid)))

    async def write_identity(self, pid: int) -> None:
        self._write(self._folder / "identities" / f"{pid}.json", json.dumps(identity_fields(pid)))

    async def read_identity(self, pid: int) -> None:
        fields = json.loads((self._folder / "identities" / f"{pid}.json").read_bytes())
        check_identity({b"data": fields["data"]})

    async def send(self, pid: int) -> None:
        self._write(self._folder / "queue" / f"{pid}-{uuid.uuid4().hex}.json", admin_message())

    def _write(self, file: Path, text: str) -> None:
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)


async def typical_ms(contender: Contender, kind: str, times: int) -> float:
    """Return the median time of an operation, in milliseconds."""
    operation, taken = getattr(contender, kind), []
    for _ in range(times + 1):
        began = time.perf_counter()
        await operation(FIRST_PID)
        taken.append(time.perf_counter() - began)
    return quantile(taken[1:], 0.5) * 1000


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    times = options.times or (30 if options.quick else 200)
    table = Table(title="The guide's table", unit="ms, p50", baseline=OUR_FILES, digits=3)
    table.note = (
        "until it is stored; until a bot's main has a message: ./scripts/bench admin_latency. "
        f"What is written of a participant: {len(json.dumps(DATA))} bytes"
    )
    async with contextlib.AsyncExitStack() as stack:
        field = await stack.enter_async_context(open_field([ORIGINAL, OURS], result))
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))) for _ in range(2)]
        everybody: dict[str, Contender] = {
            OUR_FILES: await stack.enter_async_context(open_guide(folders[0])),
            OUR_REDIS: field.contenders[OURS],
            THEIR_FILES: OriginalFiles(folders[1]),
            THEIR_REDIS: field.contenders[ORIGINAL],
        }
        await field.empty(1)
        progress = Progress("guide_table", options.rounds * len(COLUMNS) * len(everybody))
        for _, order in turns(list(everybody), options.rounds):
            for kind, column in COLUMNS.items():
                for name in order:
                    progress.step(f"{column}, {name}")
                    table.add(name, column, await typical_ms(everybody[name], kind, times))
        progress.close()
    table.rows = {name: table.rows[name] for name in ROWS}
    return [table]


def main() -> None:
    program = Program("guide_table", __doc__, rounds=(7, 3))
    program.parser.add_argument(
        "--times", type=int, help="how often each operation is carried out in a round"
    )
    program.run(measure)


if __name__ == "__main__":
    main()
