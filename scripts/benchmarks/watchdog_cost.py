"""What watching the event loop costs: the processor time of an idle bot with its watchdog, and without it.

Each round is a process of its own, a bot by `run_bot` over files; those with and without take turns. The
thread's own time is a part of what the process has with it; the rest goes to the loop, which tells the thread
that it turns, and to the dump that is put off each time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import anyio

from botvisor import run_bot

from .program import Program, Progress, settings, turns
from .tables import Result, Table

SETTLE_S = 1.0
AFTER = {"on": "2", "off": "0"}  # BOT_BLOCKED_AFTER_SECS; 2 is what it is by default
THREAD = "botvisor watchdog"
COLUMN = "processor"
IDLE = "--idle"


async def idle(seconds: float) -> None:
    """Print what the process and the watchdog's thread cost while nothing happens, in per cent of a core."""
    await anyio.sleep(SETTLE_S)
    watchers = [thread.ident for thread in threading.enumerate() if thread.name == THREAD]
    clocks = [time.CLOCK_PROCESS_CPUTIME_ID, *(time.pthread_getcpuclockid(each) for each in watchers if each)]
    began, before = time.perf_counter(), [time.clock_gettime(clock) for clock in clocks]
    await anyio.sleep(seconds)
    took_s = time.perf_counter() - began
    used = [(time.clock_gettime(clock) - old) / took_s for clock, old in zip(clocks, before, strict=True)]
    process, *threads = (100 * share for share in used)
    print(json.dumps({"process": process, "thread": sum(threads), "threads": len(threads)}))


def one_round(mode: str, seconds: float, folder: Path) -> dict[str, Any]:
    # No heartbeat falls into a round, unless it is a long one.
    own = {"BOT_BLOCKED_AFTER_SECS": AFTER[mode], "BOT_HEARTBEAT_INTERVAL_SECS": "15"}
    env = {**os.environ, **settings(folder), **own}
    command = [sys.executable, "-P", "-m", f"{__package__}.watchdog_cost", IDLE, str(seconds)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if (found["threads"] == 1) is not (mode == "on"):
        raise AssertionError(found)
    return found


def measure(options: argparse.Namespace, result: Result) -> list[Table]:
    seconds = options.seconds or (2.0 if options.quick else 8.0)
    table = Table(title="Watching the event loop of an idle bot", unit="% of a core", baseline="", digits=3)
    progress = Progress("watchdog_cost", options.rounds * len(AFTER))
    for _, order in turns(list(AFTER), options.rounds):
        found = {}
        for mode in order:
            progress.step(mode)
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                found[mode] = one_round(mode, seconds, Path(folder))
        on, off = found["on"], found["off"]
        table.add("idle bot, watched", COLUMN, on["process"])
        table.add("idle bot, not watched", COLUMN, off["process"])
        table.add("the difference", COLUMN, on["process"] - off["process"])
        table.add("the watchdog's thread", COLUMN, on["thread"])
    progress.close()
    return [table]


def main() -> None:
    if sys.argv[1:2] == [IDLE]:
        seconds = float(sys.argv[2])
        run_bot(lambda _: idle(seconds), bot_id="idle", log_level="ERROR")
        return
    program = Program("watchdog_cost", __doc__, rounds=(7, 1))
    program.parser.add_argument("--seconds", type=float, help="a round's length")
    program.run(measure)


if __name__ == "__main__":
    main()
