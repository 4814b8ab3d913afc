"""Many messages, bots and runtimes leave nothing behind in their process; scripts/leaks tries many more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .redis_server import need

PROGRAM = Path(__file__).parent.parent / "scripts" / "leaks.py"
SHORT = {
    "files": {"messages": 400, "bots": 30, "runtimes": 10},
    "redis": {"messages": 2_500, "bots": 40, "runtimes": 10},
}
OBJECTS = 6_000  # far fewer than those bots are made of


def look_for_leaks(store, program=PROGRAM, *, json_form=True, **counts):
    options = [f"--{name}={count}" for name, count in counts.items()]
    form = ["--json"] if json_form else []
    return subprocess.run(
        [sys.executable, "-P", program, *form, "--store", store, *options],
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.mark.parametrize("store", SHORT)
def test_messages_bots_and_runtimes_leave_nothing_behind(store):
    if store == "redis":
        need()
    ran = look_for_leaks(store, **SHORT[store])
    print(ran.stderr)
    assert ran.returncode == 0, ran.stdout
    result = json.loads(ran.stdout)
    assert result["problems"] == []
    for phase, total in SHORT[store].items():
        first, *_, last = result["readings"][phase]
        assert last["done"] == total
        for each in ("tasks", "descriptors", "sockets", "connections", "threads"):
            assert last[each] <= first[each], (phase, each)
        assert last["objects"] <= first["objects"] + OBJECTS
        assert last["workers"] <= 8
    # With the last supervisor all of it has ended: this one task and thread remain.
    assert (result["after"]["tasks"], result["after"]["threads"], result["after"]["connections"]) == (1, 1, 0)


def test_something_that_grows_is_named_and_the_exit_code_is_1(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "import runpy, sys\n"
        "from botvisor.bot_supervisor import BotSupervisor\n"
        "kept = []\n"
        "before = BotSupervisor.__init__\n"
        "def leaky(self, *arguments):\n"
        "    before(self, *arguments)\n"
        "    kept.append(open('/dev/null'))\n"
        "BotSupervisor.__init__ = leaky\n"
        f"sys.argv[0] = {str(PROGRAM)!r}\n"
        f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    ran = look_for_leaks("files", broken, json_form=False, messages=0, bots=0, runtimes=10)
    assert ran.returncode == 1, ran.stderr
    assert "runtimes: descriptors: " in ran.stdout
