"""Every code block of the README, run as a reader would run it."""

import re
import shlex

import anyio
import pytest

from botvisor import open_client
from botvisor.cli.program import main as command
from botvisor.config import load_settings

from .processes import ROOT, Program, environment

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
SCRIPTS = [text for text in PYTHON if "run_bot(main" in text]
FUNCTIONS = [text for text in PYTHON if "run_bot(main" not in text]
COMMANDS = [
    line.removeprefix("$ ").partition("#")[0].strip()
    for language, text in BLOCKS
    if language == "console"
    for line in text.splitlines()
    if line.startswith("$ ")
]


def block(text):
    """The one block that holds a text, as a namespace."""
    (source,) = [candidate for candidate in FUNCTIONS if text in candidate]
    namespace = {}
    exec(compile(source, "README.md", "exec"), namespace)
    return namespace


@pytest.fixture
def own_directories(tmp_path, monkeypatch):
    for name, value in environment(tmp_path).items():
        if name.startswith("BOT_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def start(tmp_path):
    programs = []

    def begin(source):
        programs.append(Program(source, tmp_path))
        return programs[-1]

    yield begin
    for program in programs:
        program.close()


async def reach(folder, program, text, **more):
    settings = load_settings(environment(folder))
    async with open_client(settings) as client:
        return await client.send(str(program.pid), text, wait=20, **more)


def test_no_block_is_left_out():
    assert {language for language, _ in BLOCKS} == {"python", "console"}
    assert len(SCRIPTS) == 2
    assert len(FUNCTIONS) == 3
    assert len(COMMANDS) >= 4


def test_the_five_line_bot_says_what_it_is_told_until_it_wraps_up(start, tmp_path):
    program = start(SCRIPTS[0])
    assert anyio.run(reach, tmp_path, program, "hello").state == "handled"
    assert "hello" in program.says("says: hello")
    assert anyio.run(reach, tmp_path, program, "wrap up").state == "handled"
    assert program.ends() == 0


def test_the_longer_bot_stops_at_once_when_it_is_told_to(start, tmp_path):
    program = start(SCRIPTS[1])
    assert anyio.run(send_now, tmp_path, program).state == "handled"
    assert program.ends() == 0
    assert program.says("goodbye, John")


async def send_now(folder, program):
    return await reach(folder, program, "now", mode="immediate", sender_name="the test")


@pytest.mark.usefixtures("own_directories")
async def test_a_bot_inside_a_running_loop_is_reached_by_a_client_there():
    with anyio.fail_after(20):
        assert await block("async def conversation")["conversation"]() == "hello"


@pytest.mark.usefixtures("own_directories")
async def test_many_bots_share_a_process():
    with anyio.fail_after(20):
        rooms = await block("async def fleet")["fleet"]()
    assert rooms == [f"https://example.daily.co/{number}" for number in range(3)]


async def test_a_bots_main_is_tested_without_files():
    with anyio.fail_after(20):
        await block("async def test_it_shouts")["test_it_shouts"]()


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("botvisor ")])
def test_a_botvisor_command_is_understood(line, capsys, own_directories):
    words = shlex.split(line)[1:]
    with pytest.raises(SystemExit) as ended:
        command([words[0], "--help"])
    assert ended.value.code == 0
    usage = capsys.readouterr().out
    for option in (word for word in words if word.startswith("--")):
        assert option in usage


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("./")])
def test_a_script_is_there_and_can_be_run(line):
    script = ROOT / line
    assert script.is_file()
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)[^)]*\)", README))
def test_a_link_leads_to_a_file(target):
    assert (ROOT / target).is_file()
