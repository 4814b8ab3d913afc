"""`botvisor run module:main`: a bot without a script of its own."""

import signal

import pytest

from botvisor.cli.reload import difference, snapshot

from . import cli_rig
from .processes import Program

command = cli_rig.command

BOT = """
import os

async def main(bot):
    print("hello", bot.id, bot.room_url, os.environ.get("GREETING"), os.environ.get("KEPT"), flush=True)
    await bot.wait_stopping()
    print("goodbye", flush=True)
"""


@pytest.fixture
def module(tmp_path):
    (tmp_path / "my_bot.py").write_text(BOT)
    (tmp_path / "bot.env").write_text("GREETING='good morning'\nKEPT=no\nBOT_ID=ada\n")
    return tmp_path


def test_a_bot_is_run_with_its_room_its_id_and_a_files_variables(module):
    arguments = ["-m", "botvisor", "run", "my_bot:main", "--room", "https://x/room", "--env-file", "bot.env"]
    bot = Program(arguments, module, KEPT="yes")
    assert bot.says("hello") == "hello ada https://x/room good morning yes"
    assert bot.stop() == 0
    assert bot.out[-1] == "goodbye"
    bot.close()


def test_it_starts_again_when_its_code_changes(module):
    bot = Program(["-m", "botvisor", "run", "my_bot:main", "--bot-id", "bob", "--reload"], module)
    bot.says("hello bob")
    (module / "my_bot.py").write_text(BOT.replace("hello", "hello again"))
    bot.says("hello again bob")
    assert "my_bot.py has changed: starting again" in bot.stderr
    assert bot.out.count("goodbye") == 1
    assert bot.stop(signal.SIGINT) == 130
    assert bot.out.count("goodbye") == 2
    bot.close()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("my_bot", "is not MODULE:MAIN"),
        ("nothing:main", "there is no module nothing"),
        ("my_bot:nothing", "the module my_bot has no function nothing"),
        ("my_bot:os.sep", "has no function os.sep"),
    ],
)
def test_what_cannot_be_run_is_one_clear_line(command, module, monkeypatch, name, problem):
    monkeypatch.chdir(module)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    code, out, err = command("run", name)
    assert (code, out) == (1, "")
    assert problem in err
    assert len(err.splitlines()) == 1


def test_a_file_of_variables_that_is_bad_is_told(command, module):
    (module / "bad.env").write_text("nonsense\n")
    code, out, err = command("run", "my_bot:main", "--env-file", str(module / "bad.env"))
    assert (code, out) == (1, "")
    assert "line 1" in err


def test_only_code_counts_as_a_change(tmp_path):
    for name in ("a.py", "b.txt", ".git/c.py", "__pycache__/d.py", "sub/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    before = snapshot(tmp_path)
    assert sorted(path.removeprefix(f"{tmp_path}/") for path in before) == ["a.py", "sub/e.py"]
    (tmp_path / "sub/e.py").unlink()
    (tmp_path / "f.py").write_text("1")
    after = snapshot(tmp_path)
    assert [path.rpartition("/")[2] for path in difference(before, after)] == ["f.py", "e.py"]
    assert difference(after, snapshot(tmp_path)) == []
