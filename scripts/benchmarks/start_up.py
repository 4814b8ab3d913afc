"""Start-up: `import botvisor`, and `run_bot` to the first line of `main`, beside bare anyio; the modules.

Each is a process of its own, timed from its start to the line that it prints.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botvisor.testing.redis_server import open_server

from .program import Program, Progress, settings, turns
from .tables import Result, Table

PYTHON = "bare Python"
ANYIO = "bare anyio, to main"
IMPORT = "import botvisor"
FILES = "run_bot over files, to main"
REDIS = "run_bot over Redis, to main"
REDIS_PY = "import redis.asyncio"
NAMES = (PYTHON, ANYIO, IMPORT, FILES, REDIS, REDIS_PY)

_SAY = """
import json, sys, time
at = time.monotonic_ns()
outside = sorted({name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'__main__'})
print(json.dumps({'at': at, 'modules': len(sys.modules), 'outside': outside}), flush=True)
"""
_RUN = f"""
import botvisor
async def main():
    exec({_SAY!r})
botvisor.run_bot(main, bot_id='bench')
"""
PROGRAMS = {
    PYTHON: _SAY,
    ANYIO: f"import anyio\nasync def main():\n    exec({_SAY!r})\nanyio.run(main)\n",
    IMPORT: "import botvisor\n" + _SAY,
    FILES: _RUN,
    REDIS: _RUN,
    REDIS_PY: "import redis.asyncio\n" + _SAY,
}
NOT_WANTED = ("hiredis", "prometheus_client", "redis", "rich", "starlette", "textual", "trio", "uvicorn")
"""What files mode does not need."""


def run(name: str, folder: Path, url: str) -> tuple[float, dict[str, Any]]:
    """Run a program; return how many milliseconds it took to its line, and what that said."""
    env = {**os.environ, **settings(folder, url if name == REDIS else ""), "BOT_LOG_LEVEL": "ERROR"}
    began = time.monotonic_ns()
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAMS[name]], env=env, stdout=subprocess.PIPE, text=True, check=True
    )
    said = json.loads(done.stdout.splitlines()[0])
    return (said["at"] - began) / 1e6, said


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    table = Table(title="Start-up", unit="ms", baseline=ANYIO)
    modules = Table(title="Start-up: modules that are imported by then", unit="modules", baseline=ANYIO)
    outside: dict[str, list[str]] = {}
    progress = Progress("start_up", (options.rounds + 1) * len(NAMES))
    async with open_server() as server:
        for lap, order in turns(NAMES, options.rounds + 1):
            for name in order:
                progress.step(name)
                with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                    took_ms, said = run(name, Path(folder), server.url)
                if lap:  # the first one fills the disk's cache
                    table.add(name, "to its line", took_ms)
                    modules.add(name, "modules", said["modules"])
                    outside[name] = said["outside"]
    progress.close()
    for each in (table, modules):
        each.rows = {name: each.rows[name] for name in NAMES}
    eager = [name for name in outside[FILES] if name in NOT_WANTED]
    modules.note = (
        f"not of the standard library over files: {', '.join(outside[FILES])}; over Redis also "
        f"{', '.join(name for name in outside[REDIS] if name not in outside[FILES])}. "
        + (f"NOT needed there: {', '.join(eager)}" if eager else "None that files do not need")
    )
    return [table, modules]


def main() -> None:
    Program("start_up", __doc__, rounds=(11, 3)).run(measure)


if __name__ == "__main__":
    main()
