"""scripts/examples: each runs, and the shortest is the README's."""

import ast
import json
import signal

import anyio
import pytest

from botvisor import open_client

from .fleet import settings_in
from .processes import LIMIT_S, ROOT, Program
from .readme import blocks, is_script

EXAMPLES = ROOT / "scripts" / "examples"


@pytest.fixture
def run(tmp_path):
    programs = []

    def start(name, *arguments, **env):
        programs.append(Program([EXAMPLES / name, *arguments], tmp_path, **env))
        return programs[-1]

    yield start
    for program in programs:
        program.close()


def tell(folder, target, text):
    async def main():
        async with open_client(settings_in(folder)) as client:
            return await client.send(target, text, wait=LIMIT_S)

    return anyio.run(main).state


def test_each_example_is_run_by_a_test():
    assert {file.name for file in EXAMPLES.glob("*.py")} == {"five_lines.py", "demo_bot.py"}


def test_five_lines_says_what_it_hears_until_it_is_told_to_wrap_up(run, tmp_path):
    bot = run("five_lines.py", BOT_ID="ada")
    for text in ("hello", "wrap up"):
        assert tell(tmp_path, "ada", text) == "handled"
    assert bot.ends() == 0
    assert bot.out == ["somebody says: hello", "somebody says: wrap up"]


def test_five_lines_is_the_first_block_of_the_readme():
    readme = next(code for language, code in blocks() if is_script((language, code)))
    example = ast.parse((EXAMPLES / "five_lines.py").read_text())
    del example.body[0]  # the docstring
    assert ast.dump(ast.parse(readme)) == ast.dump(example)


def test_the_demos_bot_tells_what_happens_to_it(run, tmp_path):
    bot = run("demo_bot.py", "https://example.daily.co/ada", BOT_ID="ada")
    assert json.loads(bot.says("running")) == {"what": "running", "bot_id": "ada"}
    for text in ("hello", "crash your heartbeat", "still there?"):
        assert tell(tmp_path, "ada", text) == "handled"
    assert "ada/heartbeat failed on Fault" in bot.says("failed")
    assert bot.stop(signal.SIGTERM) == 0
    assert json.loads(bot.out[-1]) == {"what": "wrapping up"}
