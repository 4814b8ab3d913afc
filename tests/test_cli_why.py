"""`botvisor why` of real bots: blocked in three ways, killed, stopped, and unknown."""

import json
import signal
import time

import pytest

from . import cli_rig
from .processes import Program

command = cli_rig.command

BOT = """
import re, time, anyio
from botvisor import run_bot

def sleeps():
    time.sleep(30)

def naps():
    time.sleep(0.8)

def spins():
    end = time.monotonic() + 30
    while time.monotonic() < end:
        sum(range(1000))

def holds_the_lock():
    re.match(r"(a+)+$", "a" * 40 + "b")

async def main(bot):
    await anyio.sleep(0.2)  # what sees it from outside is made ready meanwhile
    print("running", flush=True)
    async for message in bot.inbox:
        if message.text == "fail":
            raise ValueError("no such thing")
        globals()[message.text]()

run_bot(main, room_url="https://example.test/room", log_level="WARNING", grace=0.1)
"""
BLOCKS = ("sleeps", "spins", "holds_the_lock")


def told(command, bot_id):
    code, out, err = command("why", bot_id, "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    assert set(answer) == {"bot_id", "status", "since_s", "summary", "where", "ledger"}
    assert answer["bot_id"] == bot_id
    return answer


def until_blocked(command, bot_id):
    deadline = time.monotonic() + 15
    while (answer := told(command, bot_id))["status"] != "blocked":
        assert time.monotonic() < deadline, answer
        time.sleep(0.2)
    return answer


@pytest.fixture
def start(tmp_path):
    bots = []

    def start(bot_id, **env):
        bots.append(Program(BOT, tmp_path, BOT_ID=bot_id, **env))
        return bots[-1]

    yield start
    for bot in bots:
        bot.close()


def test_a_blocked_bot_names_file_and_line_while_it_is_blocked(command, start):
    bots = {name: start(name, BOT_BLOCKED_AFTER_SECS="0.5") for name in BLOCKS}
    for name, bot in bots.items():
        bot.says("running")
        assert command("send", name, name)[0] == 0
    source = BOT.splitlines()
    for name, bot in bots.items():
        answer = until_blocked(command, name)
        where = answer["where"]
        assert (where["file"], where["function"]) == (bot.path, name)
        line = source.index(f"def {name}():") + 1
        assert line < where["line"] <= line + 4
        assert f"{bot.path}:{where['line']} in {name}" in answer["summary"]
        assert answer["since_s"] >= 0.5
    rows = {row["bot_id"]: row for row in json.loads(command("ps", "--json", "--status", "blocked")[1])}
    assert set(rows) == set(BLOCKS)
    for name, row in rows.items():
        assert row["blocked"]["function"] == name
        assert row["uptime_s"] > 0
    code, out, _ = command("why", "holds_the_lock")
    assert code == 0
    assert "the stack that blocks it:" in out
    assert f"in {BLOCKS[2]}" in out
    assert "holds_the_lock, for" in command("ps")[1]
    # One that is killed while it is blocked leaves its dump behind, and is lost all the same.
    bots["holds_the_lock"].stop(signal.SIGKILL)
    answer = told(command, "holds_the_lock")
    assert (answer["status"], answer["where"]) == ("lost", None)


def test_how_bots_ended(command, start):
    killed = start("killed", BOT_BLOCKED_AFTER_SECS="0.3")
    stopped, failed = start("stopped"), start("failed")
    for bot in (killed, stopped, failed):
        bot.says("running")
    assert command("send", "killed", "naps", "--wait", "5")[0] == 0
    deadline = time.monotonic() + 10
    while not told(command, "killed")["ledger"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert told(command, "stopped")["status"] == "healthy"
    assert command("send", "failed", "fail")[0] == 0
    assert failed.ends() == 1
    assert stopped.stop() == 0
    killed.stop(signal.SIGKILL)
    answer = told(command, "killed")
    assert answer["status"] == "lost"
    assert "Its process has ended, so it was killed" in answer["summary"]
    assert "the event loop stood still" in answer["ledger"][0]["error"]
    answer = told(command, "stopped")
    assert (answer["status"], answer["where"]) == ("stopped", None)
    assert "(SIGTERM): its main returned." in answer["summary"]
    answer = told(command, "failed")
    assert "its main ended with ValueError: no such thing." in answer["summary"]
    code, out, _ = command("ps", "--all")
    assert code == 0
    assert "SIGTERM: returned" in out
    assert "ValueError: no such thing" in out


def test_where_a_healthy_bots_tasks_stand_is_asked(command, start):
    start("ada").says("running")
    code, out, err = command("why", "ada", "--stack")
    assert (code, err) == (0, "")
    assert "where ada/main stands:" in out
    assert "in main" in out


def test_a_bot_that_nobody_knows(command):
    code, out, err = command("why", "nobody", "--json")
    assert (code, out) == (1, "")
    assert err == "botvisor: no bot nobody is known: `botvisor ps --all` lists those that are\n"
