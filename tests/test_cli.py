"""The `botvisor` command, as an operator runs it."""

import json
import os
import signal
import subprocess
import sys

import pytest

from . import cli_rig
from .processes import LIMIT_S, Program, environment

botvisor, command = cli_rig.botvisor, cli_rig.command

ROOM = "https://example.daily.co/room"
COMMANDS = (
    "ps", "why", "send", "inbox", "identities", "stop", "drain", "restart", "doctor", "reap", "clean", "run",
)  # fmt: skip
BOT = """
import anyio
from botvisor import open_client, run_bot

async def main(bot):
    bot.participants.add("user1")
    async with open_client() as client:
        while not (await client.heartbeat("ada")).participants:
            await anyio.sleep(0.01)
    print("running", flush=True)
    async for message in bot.inbox:
        print(message.text, message.sender_name, message.mode, flush=True)
        if message.text == "think hard":
            await anyio.sleep_forever()

run_bot(main, room_url="https://example.daily.co/room", log_level="WARNING", grace=0.1)
"""


@pytest.fixture
def ada(tmp_path):
    """A running bot with the id ada."""
    bot = Program(BOT, tmp_path, BOT_ID="ada")
    bot.says("running")
    yield bot
    bot.close()


def test_help_teaches_the_commands_by_examples(command):
    code, out, _ = command("--help")
    assert code == 0
    for word in (*COMMANDS, "--wait 5", "Exit codes", "BOT_HEARTBEAT_DIR", "--redis-url"):
        assert word in out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_a_help_of_its_own(command, name):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert f"usage: botvisor {name}" in out
    assert ("--json" in out) == (name != "run")
    assert max(map(len, out.splitlines())) <= 110


def test_it_tells_its_version(command):
    code, out, _ = command("--version")
    assert (code, out.split()[0]) == (0, "botvisor")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["send", "ada"],
        ["send", "ada", "hello", "--wait", "soon"],
        ["send", "ada", "hello", "--wait", "-1"],
        ["send", "ada", "hello", "--mode", "now"],
    ],
)
def test_a_wrong_command_line_is_told_in_its_last_line(command, arguments):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("botvisor")
    assert "_seconds" not in err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["send", "a b", "hello"], "'a b' is neither a bot's id"),
        (["send", "ada", ""], "no text"),
        (["stop", "nobody"], "no live bot nobody"),
        (["stop", "a b"], "a bot id is 1 to 128"),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_bad_input_is_one_clear_line(command, arguments, problem, form):
    code, out, err = command(*arguments, *form)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("botvisor: ")
    assert problem in err


def test_bad_settings_are_all_named(command):
    code, out, err = command("ps", BOT_HEARTBEAT_INTERVAL_SECS="soon", BOT_ID="a b")
    assert (code, out) == (1, "")
    assert "BOT_HEARTBEAT_INTERVAL_SECS" in err
    assert "BOT_ID" in err


def test_bad_settings_of_redis_are_named(command):
    code, _, err = command("ps", USE_REDIS="true", REDIS_URL="http://localhost")
    assert code == 1
    assert "REDIS_URL" in err


@pytest.mark.parametrize("name", ["admin_message", "heartbeat"])
def test_an_unsafe_directory_is_one_line_with_the_remedy(command, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    folder.chmod(0o777)
    code, out, err = command("ps")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert f"run: chmod 700 {folder}" in err


def test_without_bots_ps_says_so(command):
    assert command("ps") == (0, "no live bots (--all shows those that ended)\n", "")
    assert command("ps", "--all") == (0, "no bots\n", "")
    assert command("ps", "--json") == (0, "[]\n", "")


def test_ps_shows_a_bot(botvisor, ada):
    code, out, err = botvisor("ps")
    assert (code, err) == (0, "")
    titles, row = (line.split() for line in out.splitlines())
    shown = dict(zip(titles, row, strict=True))
    assert (shown["BOT"], shown["ROOM"], shown["WHO"], shown["STATUS"]) == ("ada", ROOM, "1", "healthy")
    assert shown["PID"] == str(ada.pid)


def test_ps_as_json_is_one_document(command, ada):
    _, out, _ = command("ps", "--json")
    (row,) = json.loads(out)
    assert (row["bot_id"], row["pid"], row["room_url"], row["participants"], row["status"]) == (
        "ada",
        ada.pid,
        ROOM,
        ["user1"],
        "healthy",
    )
    assert row["last_seen_s"] < 30
    assert row["epitaph"] is None


def test_ps_hides_what_ended_unless_it_is_asked(command, ada):
    ada.stop()
    assert command("ps", "--json")[1] == "[]\n"
    (row,) = json.loads(command("ps", "--all", "--json")[1])
    assert (row["status"], row["epitaph"]["reason"]) == ("stopped", "SIGTERM")


def test_ps_shows_a_killed_bot_as_lost(command, ada):
    ada.stop(signal.SIGKILL)
    assert "lost" in command("ps", "--all")[1]


def test_ps_shows_a_thousand_bots_and_survives_a_reader_that_leaves(botvisor, tmp_path):
    folder = tmp_path / "heartbeat"
    folder.mkdir(mode=0o700)
    beat = {
        "pid": 1,
        "room_url": "http://x/\x1b[2J\n",
        "participants": [],
        "timestamp": "2100-01-01T00:00:00+00:00",
    }
    for number in range(1000):
        file = folder / f"bot{number}.json"
        file.write_text(json.dumps({**beat, "bot_id": f"bot{number}", "host": "elsewhere"}))
        file.chmod(0o600)
    code, out, _ = botvisor("ps")
    assert (code, len(out.splitlines())) == (0, 1001)
    assert "\x1b" not in out
    assert len(json.loads(botvisor("ps", "--json")[1])) == 1000
    command = f"{sys.executable} -m botvisor ps --json | head -c 10"
    piped = subprocess.run(
        command, shell=True, env=environment(tmp_path), capture_output=True, text=True, timeout=LIMIT_S
    )
    assert (len(piped.stdout), piped.stderr) == (10, "")


def test_a_message_is_sent_and_its_handling_awaited(botvisor, ada):
    code, out, err = botvisor("send", "ada", "hello", "--wait", "5", "--sender", "the operator")
    assert (code, err) == (0, "")
    assert " handled after " in out
    ada.says("hello the operator queued")


def test_a_message_to_a_room_reaches_its_bot(command, ada):
    code, out, _ = command("send", ROOM, "hello", "--wait", "5", "--mode", "immediate", "--json")
    receipt = json.loads(out)
    assert (code, receipt["room_url"], receipt["state"]) == (0, ROOM, "handled")
    assert receipt["handled_ms"] >= receipt["stored_ms"]
    ada.says("hello None immediate")


def test_a_message_that_nobody_takes_yet_is_stored(command):
    code, out, _ = command("send", "ada", "hello")
    assert code == 0
    assert " stored after " in out


def test_waiting_in_vain_ends_with_4(command, ada):
    code, out, _ = command("send", "ada", "think hard", "--wait", "0.3", "--json")
    assert (code, json.loads(out)["state"]) == (4, "delivered")


def test_a_bot_is_stopped(botvisor, ada):
    assert botvisor("stop", "ada") == (0, "told ada to stop\n", "")
    assert ada.ends() == 0


def test_a_bot_is_drained(command, ada):
    code, out, _ = command("drain", "ada", "--json")
    told = json.loads(out)
    assert (code, told["bot_id"], told["command"]) == (0, "ada", "drain")
    assert ada.ends() == 0


def test_an_actor_is_restarted(command, ada):
    assert command("restart", "ada", "heartbeat") == (0, "told ada to restart heartbeat\n", "")
    assert command("send", "ada", "still there?", "--wait", "5")[0] == 0


def test_an_actor_that_a_bot_does_not_have_is_not_restarted(command, ada):
    told = "botvisor: bot ada has no actor main: it has identity, heartbeat, inbox\n"
    assert command("restart", "ada", "main") == (1, "", told)


def test_ctrl_c_ends_a_wait_quietly_with_130(tmp_path, ada):
    waiting = Program(["-m", "botvisor", "send", "ada", "think hard", "--wait", "60"], tmp_path)
    ada.says("think hard")
    assert waiting.stop(signal.SIGINT) == 130
    assert "Traceback" not in waiting.stderr
    waiting.close()


def test_a_command_that_cannot_write_where_it_should_says_so(command, tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "admin_message").write_text("not a directory")
    else:
        tmp_path.chmod(0o500)
    code, out, err = command("send", "ada", "hello")
    tmp_path.chmod(0o700)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
