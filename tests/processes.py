"""Programs that tests run as real processes, and what they print, awaited line by line."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT_S = 20.0
LOOPS = {
    "asyncio": "backend='asyncio', use_uvloop=False",
    "uvloop": "backend='asyncio', use_uvloop=True",
    "trio": "backend='trio'",
}
# So that a test of what ignores its end does not take the fifteen seconds that a bot gives it.
IMPATIENT = """
import botvisor.handle, botvisor.lifecycle, botvisor.run
botvisor.handle.CANCEL_GRACE_S = botvisor.lifecycle.STUCK_AFTER_S = botvisor.run.THREADS_LIMIT_S = 0.2
"""

_IMPORTS = (
    "import asyncio, contextlib, os, signal, sys, threading, time\nimport anyio\nfrom botvisor import *\n"
)
_numbers = itertools.count(1)


def environment(folder, **more):
    """The process's own environment, with every directory and setting of botvisor's under a folder."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BOT_", "REDIS_", "USE_"))
    }
    kept.pop("KUBERNETES_SERVICE_HOST", None)
    places = {
        f"BOT_{name.upper()}_DIR": str(folder / name) for name in ("admin_message", "heartbeat", "identity")
    }
    return {**kept, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **places, **more}


class Program:
    """A running program.

    Args:
        command: a script's path or its source, or a list of arguments for the interpreter.
        folder: where its botvisor keeps its files; it is also its working directory.
        behind: a command that starts the interpreter, such as one that makes a namespace for it.
        python: the interpreter; None is the one of the tests.
        env: more variables of its environment.
    """

    def __init__(self, command, folder, *, behind=(), python=None, **env):
        if isinstance(command, str):
            file = folder / f"bot{next(_numbers)}.py"
            file.write_text(command)
            command = [file]
        self.path = str(command[0])
        self.out, self.err = [], []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [*behind, python or sys.executable, *map(str, command)],
            cwd=folder,
            env=environment(folder, **env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C in the tests' own terminal is not for it; and a shell's `&` may have SIGINT ignored.
            start_new_session=True,
            restore_signals=True,
        )
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in streams]
        for reader in self._readers:
            reader.start()

    def close(self):
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def pid(self):
        return self.process.pid

    @property
    def stderr(self):
        return "\n".join(self.err)

    def says(self, text, *, times=1):
        """Wait until it has printed so many lines with a text, on either stream; returns the last of them."""
        found = []

        def seen():
            found[:] = [line for line in [*self.out, *self.err] if text in line]
            return len(found) >= times or not any(reader.is_alive() for reader in self._readers)

        with self._news:
            self._news.wait_for(seen, LIMIT_S)
        assert len(found) >= times, f"{text!r} did not come; out: {self.out}; err: {self.stderr}"
        return found[-1]

    def send(self, number):
        self.process.send_signal(number)

    def ends(self, limit_s=LIMIT_S):
        """Wait until it has ended; returns its exit code."""
        code = self.process.wait(limit_s)
        for reader in self._readers:
            reader.join(LIMIT_S)
        return code

    def stop(self, number=signal.SIGTERM):
        self.send(number)
        return self.ends()

    def _read(self, stream, lines):
        for line in stream:
            with self._news:
                lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Scripts:
    """Starts scripts in a folder, and ends them with the test.

    Args:
        folder: where they are, and where their botvisor keeps its files.
    """

    def __init__(self, folder):
        self._folder = folder
        self._programs = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in self._programs:
            program.close()

    def start(self, source, **env):
        """Start a script that has everything imported."""
        self._programs.append(Program(_IMPORTS + textwrap.dedent(source), self._folder, **env))
        return self._programs[-1]

    def bot(self, body, arguments="", *, head="", tail="", **env):
        """Start a bot: the body of its `main(bot)`, the arguments of `run_bot`, and what is round them."""
        main = "async def main(bot):\n" + textwrap.indent(textwrap.dedent(body), "    ")
        run = f"print('returned', repr(run_bot(main, {arguments})))"
        return self.start(f"{head}\n{main}\n{run}\n{textwrap.dedent(tail)}", **env)


@pytest.fixture
def scripts(tmp_path):
    """Start scripts in the test's folder. Take it over by its name: ``scripts = processes.scripts``."""
    with Scripts(tmp_path) as scripts:
        yield scripts
