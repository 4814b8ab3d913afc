"""Every code block of the README, run for real."""

import contextlib
import inspect
import json
import os
import re
import subprocess
import sys
import urllib.request

import anyio
import pytest

from botvisor import open_client
from botvisor.config import load_settings

from .fleet import settings_in
from .processes import LIMIT_S, ROOT, Program, environment
from .readme import blocks, is_script, links, variables

BLOCKS = blocks()
SCRIPTS = [code for language, code in BLOCKS if is_script((language, code))]
APPS = [code for language, code in BLOCKS if language == "python" and "FastAPI(" in code]
FUNCTIONS = [
    code
    for language, code in BLOCKS
    if language == "python" and not is_script((language, code)) and code not in APPS
]
CONSOLE = [code for language, code in BLOCKS if language == "console"]
SHELL = [code for language, code in BLOCKS if language == "sh"]
SAYS = {"goodbye": "goodbye, John", "Tally": "2 words so far", "says:": "the operator says: wrap up"}
EXPECTED = {"conversation": "hello", "fleet": [f"https://example.daily.co/{n}" for n in range(3)]}


@pytest.fixture
def own_folder(monkeypatch, tmp_path):
    """The environment of this process, with all its directories in the test's folder."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


@contextlib.contextmanager
def running(script, folder):
    bot = Program(script, folder)
    try:
        yield bot
    finally:
        bot.close()


def send(folder, bot_id, text):
    """Send a message with the settings that `environment` gives the bots in a folder."""

    async def main():
        settings = settings_in(folder)
        async with open_client(settings) as client:
            return await client.send(bot_id, text, wait=LIMIT_S, mode="immediate", sender_name="the operator")

    return anyio.run(main)


def test_each_block_is_of_a_kind_that_is_run_here():
    kinds = (SCRIPTS, FUNCTIONS, APPS, CONSOLE, SHELL)
    assert len(BLOCKS) == sum(map(len, kinds))
    assert [len(blocks) for blocks in kinds] == [3, 3, 1, 2, 1]


@pytest.mark.parametrize("code", SHELL)
def test_the_variables_switch_redis_on(code):
    settings = load_settings(variables(code))
    assert (settings.use_redis, settings.redis_url.reveal()) == (True, "redis://redis.internal:6379")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_runs_until_it_is_told_to_end(script, tmp_path):
    with running(script, tmp_path) as bot:
        assert send(tmp_path, str(bot.pid), "wrap up").state == "handled"
        assert bot.ends() == 0
        assert bot.out == [next(said for word, said in SAYS.items() if word in script)]


@pytest.mark.parametrize("code", FUNCTIONS)
async def test_a_function_does_what_it_is_shown_for(code, own_folder):
    names = {"__name__": "readme"}
    exec(compile(code, "README.md", "exec"), names)
    defined = [value for value in names.values() if getattr(value, "__module__", "") == "readme"]
    functions = [function for function in defined if not inspect.signature(function).parameters]
    assert functions
    for function in functions:
        assert await function() == EXPECTED.get(function.__name__)


@pytest.mark.parametrize("code", APPS)
def test_the_web_server_hands_messages_on(code, tmp_path):
    (tmp_path / "app.py").write_text(code)
    with (
        running(SCRIPTS[0], tmp_path) as bot,
        running(["-m", "uvicorn", "--app-dir", tmp_path, "app:app", "--port", "0"], tmp_path) as server,
    ):
        url = server.says("Uvicorn running on").split(" on ")[1].split()[0]
        asked = f"{url}/bots/{bot.pid}/messages?text=wrap%20up"
        with urllib.request.urlopen(urllib.request.Request(asked, method="POST"), timeout=LIMIT_S) as answer:
            assert json.load(answer) == "handled"
        assert bot.ends() == 0


def commands():
    return [line.split("#")[0].removeprefix("$ ").strip() for code in CONSOLE for line in code.splitlines()]


def test_the_console_blocks_hold_commands_alone():
    assert all(line.startswith("$ ") for code in CONSOLE for line in code.splitlines())
    assert {command.split()[0] for command in commands()} == {"botvisor", "./scripts/demo", "./scripts/test"}


@pytest.mark.parametrize("command", [one for one in commands() if one.startswith("./")])
def test_a_script_of_the_repository_is_there_to_be_run(command):
    assert os.access(ROOT / command.split()[0], os.X_OK)


def test_the_operators_commands_do_what_they_say_to_the_first_bot(tmp_path):
    with running(SCRIPTS[0], tmp_path) as bot:
        for command in commands():
            if not command.startswith("botvisor"):
                continue
            line = re.sub(r"\b4711\b", str(bot.pid), command).removeprefix("botvisor ")
            done = subprocess.run(
                f"{sys.executable} -m botvisor {line}",
                shell=True,
                env=environment(tmp_path),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
            assert (done.returncode, done.stderr) == (0, "")
        assert bot.ends() == 0
        assert bot.out == ["somebody says: wrap up"]


@pytest.mark.parametrize("target", links())
def test_a_link_leads_to_a_file(target):
    assert (ROOT / target).is_file()
