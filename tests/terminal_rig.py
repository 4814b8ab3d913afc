"""Terminals for tests of the command, and a host with bots to show there.

Take the fixture over by its name: ``from . import terminal_rig`` and ``fleet = terminal_rig.fleet``.
"""

import contextlib
import fcntl
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
        show_bot(tmp_path, status, status=status)
    return tmp_path


def show_bot(root, bot_id, **fields):
    """Let a host have one more bot."""
    beat = Heartbeat(
        pid=4711, room_url=ROOM, participants=("ann",), timestamp="2100-01-01T00:00:00Z", bot_id=bot_id,
        host="a-host", health={"lag_ms": 1.5, "uptime_s": 10, "backend": "file"}, **fields,
    )  # fmt: skip
    file = root / "heartbeat" / f"{bot_id}.json"
    file.write_bytes(to_json(to_hash(beat)))
    file.chmod(0o600)


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
