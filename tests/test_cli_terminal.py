"""The `botvisor` command on a terminal: narrow, wide, coloured or not, with rich and without; and piped."""

import json
import subprocess
import sys

import pytest

from . import terminal_rig
from .processes import LIMIT_S, environment
from .terminal_rig import PLAIN, ROOM, on_terminal, show_bot

fleet = terminal_rig.fleet


@pytest.mark.parametrize("program", [("-m", "botvisor"), ("-c", PLAIN)], ids=["rich", "plain"])
def test_a_table_fits_the_terminal(fleet, program):
    for columns in (60, 200):
        code, shown = on_terminal(fleet, "ps", "--all", columns=columns, program=program, NO_COLOR="1")
        lines = shown.splitlines()
        assert (code, len(lines)) == (0, 5)
        assert all(len(line) <= columns for line in lines)
        assert "\x1b" not in shown
        for word in ("BOT", "STATUS", "SEEN", "degraded"):
            assert word in shown
        assert (ROOM in shown, "BACKEND" in shown) == (columns == 200, columns == 200)


@pytest.mark.parametrize("program", [("-m", "botvisor"), ("-c", PLAIN)], ids=["rich", "plain"])
def test_a_long_note_leaves_the_rooms_readable(fleet, program):
    error = "RuntimeError: the model at https://models.example.test/a answered 503 after 3 tries"
    show_bot(fleet, "ended", status="stopped", epitaph={"reason": "its main ended", "exit": error})
    code, shown = on_terminal(fleet, "ps", "--all", columns=80, program=program, NO_COLOR="1")
    titles, *lines = shown.splitlines()
    assert (code, titles.split()) == (0, ["BOT", "ROOM", "STATUS", "SEEN", "NOTE"])
    assert all(len(line) <= 80 for line in [titles, *lines])
    assert all(ROOM[-20:] in line for line in lines)
    (line,) = [line for line in lines if line.startswith("ended")]
    assert "its main ended: Runt" in line


def test_colour_is_for_terminals_alone(fleet):
    code, shown = on_terminal(fleet, "ps", columns=120)
    assert code == 0
    assert "\x1b[32mhealthy" in shown
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in on_terminal(fleet, "ps", columns=120, **env)[1]


def test_what_is_piped_is_neither_cut_nor_coloured(fleet):
    done = subprocess.run(
        [sys.executable, "-m", "botvisor", "ps", "--all"],
        env=environment(fleet, COLUMNS="40", FORCE_COLOR="1"),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout.count(ROOM) == 4
    assert "\x1b" not in done.stdout


def test_json_is_the_same_on_a_terminal(fleet):
    code, shown = on_terminal(fleet, "ps", "--json", "--all", columns=40)
    assert (code, len(json.loads(shown))) == (0, 4)


def test_prose_is_filled_on_a_terminal(fleet):
    code, shown = on_terminal(fleet, "why", "healthy", columns=50)
    assert code == 0
    assert len(shown.splitlines()) > 2
    assert all(len(line) <= 50 for line in shown.splitlines())


@pytest.mark.parametrize("program", [("-m", "botvisor"), ("-c", PLAIN)], ids=["rich", "plain"])
def test_what_a_doctor_found_is_wrapped_and_never_cut(fleet, program):
    code, shown = on_terminal(fleet, "doctor", columns=50, program=program, NO_COLOR="1")
    assert code == 0
    assert all(len(line) <= 50 for line in shown.splitlines())
    assert "…" not in shown
    words = " ".join(shown.split())  # a path that is too long for a line is broken, too
    assert words.count("has mode 0700") + words.count("is made when it is first used") == 3
