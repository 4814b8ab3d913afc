"""./scripts/bench: its smaller programs run, and say what they measured."""

import json
import subprocess
import sys

from . import redis_server
from .processes import LIMIT_S, ROOT

PROGRAMS = ROOT / "scripts" / "benchmarks"


def result_of(program, *options):
    done = subprocess.run(
        [sys.executable, "-P", PROGRAMS / program, "--json", *options],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_list_of_the_fleet_is_timed_beside_the_bare_read():
    redis_server.need()
    result = result_of("fleet_listing.py", "--bots", "3", "--rounds", "2")
    assert {name: len(times) for name, times in result["ms"].items()} == {
        "bare read": 2,
        "SCAN, one by one": 2,
        "botvisor ps --json": 2,
        "botvisor ps": 2,
    }
    assert all(time > 0 for times in result["ms"].values() for time in times)


def test_the_watchdog_is_seen_to_cost_something_where_there_is_one():
    rounds = result_of("watchdog_cost.py", "--rounds", "1", "--seconds", "0.6")["rounds"]
    (on,), (off,) = rounds["on"], rounds["off"]
    assert 0 < on["thread"] < on["process"]
    assert off["thread"] == 0
