"""What watching the event loop costs: the processor time of an idle bot with its watchdog, and without it.

Each round is a process of its own, a bot by `run_bot` over files; those with and without take turns. The
thread's own time is a part of what the process has with it; the rest goes to the loop, which tells the thread
that it turns, and to the dump that is put off each time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import anyio

from botvisor import run_bot

SETTLE_S = 1.0
AFTER = {"on": "2", "off": "0"}  # BOT_BLOCKED_AFTER_SECS; 2 is what it is by default
THREAD = "botvisor watchdog"


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
    env = {name: value for name, value in os.environ.items() if not name.startswith(("BOT_", "REDIS_"))}
    env |= {f"BOT_{name}_DIR": str(folder / name) for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY")}
    # No heartbeat falls into a round, unless it is a long one.
    env |= {"USE_REDIS": "false", "BOT_BLOCKED_AFTER_SECS": AFTER[mode], "BOT_HEARTBEAT_INTERVAL_SECS": "15"}
    command = [sys.executable, "-P", __file__, "--idle", str(seconds)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    if (found["threads"] == 1) is not (mode == "on"):
        raise AssertionError(found)
    return found


def table(result: dict[str, Any]) -> str:
    rounds = result["rounds"]
    on, off = ([each["process"] for each in rounds[mode]] for mode in ("on", "off"))
    lines = {
        "idle bot, watched": on,
        "idle bot, not watched": off,
        "the difference": [a - b for a, b in zip(on, off, strict=True)],
        "the watchdog's thread": [each["thread"] for each in rounds["on"]],
    }
    head = f"% of a core: median (least-most) of {len(on)} rounds of {result['seconds']:g} s"
    rows = [
        f"{name:24}{statistics.median(found):7.3f} ({min(found):.3f} to {max(found):.3f})"
        for name, found in lines.items()
    ]
    return "\n".join([head, f"Python {result['python']}\n", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(prog="./scripts/bench watchdog", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="with the watchdog, and as many without")
    parser.add_argument("--seconds", type=float, default=8.0, help="a round's length")
    parser.add_argument("--json", action="store_true", help="print every round as JSON in place of the table")
    parser.add_argument("--idle", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.idle is not None:
        run_bot(lambda _: idle(options.idle), bot_id="idle", log_level="ERROR")
        return
    rounds: dict[str, list[dict[str, Any]]] = {mode: [] for mode in AFTER}
    for lap in range(options.rounds):
        for mode in sorted(AFTER, reverse=bool(lap % 2)):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                rounds[mode].append(one_round(mode, options.seconds, Path(folder)))
    result = {"python": platform.python_version(), "seconds": options.seconds, "rounds": rounds}
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
