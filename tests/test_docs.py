"""The pages of the documentation: their code runs, and their commands are understood."""

import contextlib
import os
import shlex
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
