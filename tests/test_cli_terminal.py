"""The `botvisor` command on a terminal: narrow, wide, coloured or not, with rich and without; and piped."""

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from botvisor.heartbeat import Heartbeat, to_hash, to_json

from .processes import LIMIT_S, environment

ROOM = "https://example.daily.co/a-room-with-a-name-that-is-long"
# As it is where the extra `ops` is not installed.
PLAIN = "import sys; sys.modules['rich'] = None; from botvisor.cli import main; sys.exit(main())"


@pytest.fixture
def fleet(tmp_path):
    """Heartbeats of a host: one of each status that an observer leaves as it is."""
    folder = tmp_path / "heartbeat"
    folder.mkdir(mode=0o700)
    for status in ("healthy", "degraded", "draining", "stopped"):
        beat = Heartbeat(
            pid=4711, room_url=ROOM, participants=("ann",), timestamp="2100-01-01T00:00:00Z", bot_id=status,
            host="a-host", status=status, health={"lag_ms": 1.5, "uptime_s": 10, "backend": "file"},
        )  # fmt: skip
        file = folder / f"{status}.json"
        file.write_bytes(to_json(to_hash(beat)))
        file.chmod(0o600)
    return tmp_path


def on_terminal(folder, *arguments, columns, program=("-m", "botvisor"), **env):
    """Run the command on a terminal of its own: returns its exit code and what came there."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    given = environment(folder, **{"TERM": "xterm-256color", **env})
    for name in ("COLUMNS", "LINES", "FORCE_COLOR", *(() if "NO_COLOR" in env else ("NO_COLOR",))):
        given.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, *program, *arguments], env=given, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal tells that nobody has it open any more
        while chunk := os.read(leader, 65_536):
            shown += chunk
    os.close(leader)
    return process.wait(LIMIT_S), shown.decode().replace("\r\n", "\n")


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
