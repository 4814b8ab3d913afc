"""`botvisor top` as a program on a terminal of its own; and where it does not start."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from . import cli_rig, terminal_rig
from .processes import LIMIT_S, environment
from .terminal_rig import PLAIN, on_terminal

command = cli_rig.command
fleet = terminal_rig.fleet
_LEFT = "\x1b[?1049l"  # how a terminal is told to show again what it showed before


class Terminal:
    """The program on a terminal of its own.

    Args:
        folder: where the bots' directories are.
    """

    def __init__(self, folder):
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.before = termios.tcgetattr(follower)
        self._follower = follower  # so that its state can be asked for afterwards
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "botvisor", "top", "--every", "0.5"],
            env=environment(folder, TERM="xterm-256color"),
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )

    def until(self, text):
        while text not in self.shown:
            self.shown += os.read(self._leader, 65_536).decode(errors="replace")

    def type(self, keys):
        os.write(self._leader, keys.encode())

    def ends(self):
        """Wait until it has left the terminal, and ended; returns its exit code."""
        self.until(_LEFT)
        code = self.process.wait(LIMIT_S)
        assert termios.tcgetattr(self._follower) == self.before
        assert "Traceback" not in self.shown
        return code

    def close(self):
        self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self._follower)
        os.close(self._leader)


def test_it_runs_on_a_terminal_until_a_key_or_a_signal_ends_it(fleet):
    with contextlib.closing(Terminal(fleet)) as told, contextlib.closing(Terminal(fleet)) as signalled:
        for one in (told, signalled):
            one.until("degraded")
        told.type("\x03")
        signalled.process.terminate()
        assert (told.ends(), signalled.ends()) == (0, 143)


def test_without_a_terminal_it_says_what_to_use(command):
    code, out, err = command("top")
    assert (code, out) == (2, "")
    assert (
        err == "botvisor: top needs a terminal that can be drawn on: `botvisor ps` lists the bots anywhere\n"
    )


def test_a_terminal_that_cannot_be_drawn_on_is_none(fleet):
    code, shown = on_terminal(fleet, "top", columns=80, TERM="dumb")
    assert (code, "botvisor ps" in shown) == (2, True)


def test_without_the_extra_it_says_what_to_install(fleet):
    code, shown = on_terminal(fleet, "top", columns=120, program=("-c", PLAIN.replace("rich", "textual")))
    assert (code, shown) == (1, "botvisor: top needs what `pip install 'botvisor[ops]'` installs\n")


def test_it_does_not_look_all_the_time(command):
    code, _, err = command("top", "--every", "0.1")
    assert (code, "at least 0.5 s" in err) == (2, True)
