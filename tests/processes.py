"""Programs that tests run as real processes, and what they print, awaited line by line."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT_S = 20.0

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
        env: more variables of its environment.
    """

    def __init__(self, command, folder, **env):
        if isinstance(command, str):
            file = folder / f"bot{next(_numbers)}.py"
            file.write_text(command)
            command = [file]
        self.path = str(command[0])
        self.out, self.err = [], []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, *map(str, command)],
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


def until(look, what="it", limit_s=LIMIT_S):
    """Wait until a function returns something true; returns that."""
    deadline = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)
    return found
