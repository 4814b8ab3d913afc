"""The tutorial, followed to the letter: its code is saved, its commands are given in their order."""

import contextlib
import importlib.util
import shlex
import signal
import subprocess
import sys

import pytest

from .processes import LIMIT_S, ROOT, Program, environment
from .readme import blocks

EXAMPLE = ROOT / "scripts" / "examples" / "pipecat_bot.py"
CODE = [code for language, code in blocks("docs/tutorial.md") if language == "python"]
CONSOLE = [
    [line.removeprefix("$ ") for line in code.splitlines()]
    for language, code in blocks("docs/tutorial.md")
    if language == "console"
]
# Up to the part about Pipecat, and that part.
PLAIN, PIPECAT = CONSOLE[:7], CONSOLE[7:]


class Reader:
    """Somebody who types what the tutorial shows.

    Args:
        folder: the reader's own, which is empty.
        stack: ends what still runs.
    """

    def __init__(self, folder, stack):
        self.folder = folder
        self.bot = None
        self._stack = stack

    def do(self, line):
        """Give a command; returns what it printed, if it is one that ends."""
        words = shlex.split(line, comments=True)
        if words[0].startswith("BOT_ID="):
            variable, python, *command = words
            assert python == "python"
            self._start(command, variable.removeprefix("BOT_ID="))
        elif words[:2] == ["kill", "-9"]:
            self.bot.stop(signal.SIGKILL)
        else:
            assert words[0] == "botvisor"
            return subprocess.run(
                [sys.executable, "-m", *words],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                cwd=self.folder,
                env=environment(self.folder),
                check=True,
            ).stdout
        return ""

    def _start(self, command, bot_id):
        self.bot = Program(command, self.folder, BOT_ID=bot_id)
        self._stack.callback(self.bot.close)
        self.bot.says(f"Started {bot_id}/main")


@pytest.fixture
def reader(tmp_path):
    for name, code in zip(("bot.py", "pipecat_bot.py"), CODE, strict=True):
        (tmp_path / name).write_text(code)
    with contextlib.ExitStack() as stack:
        yield Reader(tmp_path, stack)


def test_the_tutorial_works_as_it_is_written(reader):
    install, [run], look, message, absent, fail, stop = PLAIN
    assert [line.split()[0] for line in install] == ["python3", "venv/bin/pip", "."]
    reader.do(run)
    assert all("ada" in reader.do(line) for line in look)
    assert "handled" in reader.do(*message)
    reader.bot.says("you says: hello")
    reader.bot.stop(signal.SIGINT)
    for line in absent:
        reader.do(line)
    reader.bot.says("somebody says: while you were away")
    assert "lost" in [reader.do(line) for line in fail][-1]
    for line in stop:
        reader.do(run)
        reader.do(line)
        reader.bot.says("everybody said goodbye")
        assert reader.bot.ends() == 0


def test_the_pipecat_bot_of_the_tutorial_is_the_tested_example():
    assert CODE[1] == EXAMPLE.read_text()
    # What the tutorial tells to take over is there, word for word.
    assert "WorkerRunner(handle_sigint=False, handle_sigterm=False)" in CODE[1]
    assert "async with running(runner, worker) as ended:" in CODE[1]


@pytest.mark.skipif(
    importlib.util.find_spec("pipecat") is None,
    reason="Pipecat is not installed here: ./scripts/test --pipecat installs it, and runs this",
)
def test_the_tutorial_works_with_pipecat_as_it_is_written(reader):
    [install], [run], look, interrupt, end = PIPECAT
    assert shlex.split(install)[:2] == ["pip", "install"]
    reader.do(run)
    reader.bot.says("user1 is here")
    reader.bot.says("user2 is here")
    assert "eve" in reader.do(look[0])
    assert "handled" in reader.do(look[1])
    reader.bot.says("said: good morning everybody")
    reader.do(interrupt[0])
    reader.bot.says("saying: one long sentence")
    assert "handled" in reader.do(interrupt[1])
    reader.bot.says("said: excuse me")
    *finish, why = end
    for line in finish:
        reader.do(line)
    reader.bot.says("said: these are my last words for today")
    reader.bot.says("the pipeline has ended")
    assert reader.bot.ends() == 0
    assert "its main returned" in reader.do(why)
    assert not any(line.startswith("said: one long sentence") for line in reader.bot.out)
