"""The pages of the documentation: their code runs, and their commands are understood."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys

import pytest

from botvisor.cli.program import parser

from .processes import LIMIT_S, ROOT, Program, environment
from .readme import blocks

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
COMMANDS = [
    (page, shlex.split(line.removeprefix("$ "), comments=True)[1:])
    for page in PAGES
    for language, code in blocks(page)
    if language == "console"
    for line in code.splitlines()
    if line.startswith("$ botvisor ")
]
TESTS = [
    code
    for language, code in blocks("docs/how-to/test.md")
    if language == "python" and "async def test_" in code
]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=str)
def test_a_command_of_a_page_is_one_that_botvisor_knows(page, words):
    parser().parse_args(words)  # what it cannot read ends the process


def test_the_tests_on_how_to_test_a_bot_pass(tmp_path):
    for number, code in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(code)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nanyio_mode = "auto"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=os.environ | environment(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(TESTS) == 3


def test_the_actor_on_the_how_to_page_does_what_the_page_says(tmp_path):
    text = (ROOT / "docs/how-to/actors.md").read_text()
    ((_, code),) = blocks("docs/how-to/actors.md")
    with contextlib.closing(Program(code, tmp_path)) as bot:
        assert bot.ends() == 0
    assert bot.out[-1] == text.partition("It prints `")[2].partition("`")[0]


class Reader:
    """Somebody who follows the tutorial to the letter."""

    def __init__(self, folder, stack):
        self.folder = folder
        self.bot = None
        self._stack = stack

    def start(self):
        self.bot = Program(["bot.py"], self.folder, BOT_ID="ada")
        self._stack.callback(self.bot.close)
        self.bot.says("Started ada/main")

    def do(self, line):
        words = shlex.split(line, comments=True)
        if words == ["BOT_ID=ada", "python", "bot.py"]:
            self.start()
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


@pytest.fixture
def reader(tmp_path):
    (_, code) = next(block for block in blocks("docs/tutorial.md") if block[0] == "python")
    (tmp_path / "bot.py").write_text(code)
    with contextlib.ExitStack() as stack:
        yield Reader(tmp_path, stack)


def test_the_tutorial_works_as_it_is_written(reader):
    console = [code for language, code in blocks("docs/tutorial.md") if language == "console"]
    install, run, look, message, absent, fail, stop = [
        [line.removeprefix("$ ") for line in code.splitlines()] for code in console
    ]
    assert [line.split()[0] for line in install] == ["python3", "venv/bin/pip", "."]
    for line in run:
        reader.do(line)
    assert all("ada" in reader.do(line) for line in look)
    assert "handled" in reader.do(*message)
    reader.bot.says("you says: hello")
    reader.bot.stop(signal.SIGINT)
    for line in absent:
        reader.do(line)
    reader.bot.says("somebody says: while you were away")
    assert "lost" in [reader.do(line) for line in fail][-1]
    for line in stop:
        reader.start()
        reader.do(line)
        reader.bot.says("everybody said goodbye")
        assert reader.bot.ends() == 0
