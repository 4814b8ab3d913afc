"""`botvisor reap` and `clean`: who hangs is ended, and nobody else; what is left of the dead is deleted."""

import json
import signal
import subprocess
import time

import pytest

from botvisor import process
from botvisor.heartbeat import Heartbeat, to_hash, to_json
from botvisor.wire import heartbeat_file, stack_file

from . import cli_rig
from .processes import Program

command = cli_rig.command

RULES = {
    "BOT_ZOMBIE_SPAWN_GRACE_SECS": "0",
    "BOT_SERVER_REAP_INTERVAL_SECS": "0.05",
    "BOT_HEARTBEAT_STALE_SECS": "0.3",
}
# It holds the interpreter's lock, so neither its loop nor its watchdog says anything.
HANGS = """
import re
from botvisor import run_bot

async def main(bot):
    print("running", flush=True)
    async for message in bot.inbox:
        re.match(r"(a+)+$", "a" * 40 + "b")

run_bot(main, log_level="WARNING")
"""


@pytest.fixture
def write(tmp_path):
    """Writes a heartbeat file of a process; returns its path."""
    folder = tmp_path / "heartbeat"
    folder.mkdir(mode=0o700)

    def write(bot_id, **fields):
        own = process.own(bot_id, "i")
        given = {"pid": own.pid, "boot_id": own.boot_id, "pid_ns": own.pid_ns, "start_ticks": own.start_ticks}
        beat = Heartbeat(
            bot_id=bot_id, room_url="", participants=(), host=own.host, instance="i",
            **{**given, "timestamp": "2026-01-01T00:00:00Z", "status": "healthy", **fields},
        )  # fmt: skip
        file = folder / heartbeat_file(bot_id)
        file.write_bytes(to_json(to_hash(beat)))
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def stranger():
    """A process that has nothing to do with bots."""
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def test_a_bot_that_hangs_is_shown_and_ended_only_if_it_is_asked(command, tmp_path):
    bot = Program(HANGS, tmp_path, BOT_ID="ada")
    bot.says("running")
    assert command("send", "ada", "hang")[0] == 0
    deadline = time.monotonic() + 10
    while not (rows := json.loads(command("reap", "--json", **RULES)[1])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    (row,) = rows
    assert (row["bot_id"], row["pid"], row["verdict"]) == ("ada", bot.pid, "zombie")
    assert row["action"] == "would be ended"
    assert "nothing was done: --kill ends them" in command("reap")[1]
    assert bot.process.poll() is None
    code, out, err = command("reap", "--kill", "--grace", "0.2", "--json")
    assert (code, err, json.loads(out)[0]["action"]) == (0, "", "ended by SIGKILL")
    assert bot.ends() == -signal.SIGKILL
    assert command("reap", "--kill")[1] == "no zombies\n"
    bot.close()


def test_a_bot_that_is_fresh_young_stopped_or_gone_is_no_zombie(command, write):
    write("fresh", timestamp="2100-01-01T00:00:00Z")
    write("stopped", status="stopped")
    write("gone", start_ticks=1)
    assert command("reap", "--json", **RULES)[1] == "[]\n"
    write("young")
    assert command("reap", "--json", BOT_ZOMBIE_SPAWN_GRACE_SECS="1e6")[1] == "[]\n"


def test_a_stranger_with_a_bots_pid_is_never_signalled(command, write, stranger):
    own = process.start_ticks(stranger.pid)
    write("reused", pid=stranger.pid, start_ticks=own - 100)
    write("older", pid=stranger.pid, start_ticks=0, boot_id="", pid_ns="")
    write("rebooted", pid=stranger.pid, start_ticks=own, boot_id="another")
    write("container", pid=stranger.pid, start_ticks=own, pid_ns="pid:[1]")
    code, out, _ = command("reap", "--kill", "--grace", "0", "--json", **RULES)
    rows = {row["bot_id"]: row for row in json.loads(out)}
    assert code == 0
    assert set(rows) == {"older", "rebooted", "container"}
    assert all(row["action"].startswith("cannot be judged from here") for row in rows.values())
    time.sleep(0.1)
    assert stranger.poll() is None


def test_reaping_can_be_switched_off(command, write):
    write("ada")
    code, out, err = command("reap", "--kill", "--json", BOT_SERVER_REAP_INTERVAL_SECS="0")
    assert (code, out) == (0, "[]\n")
    assert "switched off" in err


def test_what_is_left_of_ended_bots_is_deleted_and_nothing_of_others(command, write, tmp_path):
    kept = [
        write("alive"),
        write("silent", timestamp="2026-01-01T00:00:00Z"),
        write("elsewhere", boot_id="another"),
        write("older", boot_id="", pid_ns=""),
    ]
    killed, stopped = write("killed", start_ticks=1), write("stopped", status="stopped")
    stack = killed.with_name(stack_file("killed"))
    stack.write_text("a stack")
    command("send", "ada", "this waits")
    assert "would forget 2 bots that ended" in command("clean", "--dry-run")[1]
    assert killed.exists()
    code, out, err = command("clean", "--json")
    assert (code, err, json.loads(out)) == (0, "", {"bots": ["killed", "stopped"], "expired": 0})
    assert not any(path.exists() for path in (killed, stopped, stack))
    assert all(path.exists() for path in kept)
    assert len(list((tmp_path / "admin_message").glob("admin-*.json"))) == 1
    assert command("clean")[1] == "forgot 0 bots that ended, deleted 0 expired files\n"
