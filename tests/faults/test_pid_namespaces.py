"""Bots that no pid tells apart: in two pid namespaces, and where a pid is given out again."""

import json

import pytest

from .. import redis_bots, redis_server
from ..bot_rig import until
from ..processes import Scripts
from ..redis_bots import ROOM, process, takes_at_most
from .host import MAIN, ends, says, shown
from .namespaces import as_second_process_of, with_own_pids

servers = redis_server.servers
place = redis_bots.place
# So that who stands by asks more often than each five seconds.
IMPATIENT = "import botvisor.actors.inbox\nbotvisor.actors.inbox.TRY_EVERY_S = 0.3"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def scripts(tmp_path):
    with Scripts(tmp_path) as scripts:
        yield scripts


@pytest.fixture
def elsewhere(tmp_path):
    """Starts scripts beside others that share nothing with them but Redis."""
    (tmp_path / "elsewhere").mkdir()
    with Scripts(tmp_path / "elsewhere") as scripts:
        yield scripts


def first_process(scripts, place, bot_id, **env):
    """Start a bot as the first process of a pid namespace: its pid is 1, like that of so many."""
    arguments = f"room_url='{ROOM}', bot_id='{bot_id}'"
    return scripts.bot(MAIN, arguments, behind=with_own_pids(), **place.variables(**env))


async def test_a_live_bot_with_the_same_pid_in_another_namespace_keeps_its_message(place, scripts, elsewhere):
    holder = first_process(scripts, place, "ada")
    await says(holder, "Sent heartbeat")
    async with process(place.settings(folder=place.folder / "a third")) as fleet:
        await fleet.client.send(ROOM, "hold")
        await says(holder, "got hold")
        other = first_process(elsewhere, place, "bea")
        await says(other, f"serves room {ROOM}: bot bea stands by")
        same_id = first_process(scripts, place, "ada")
        assert await ends(same_id) == 1
        assert "process 1 on " in same_id.err[-1]
        (place.folder / "go on").touch()
        assert (await fleet.client.send(ROOM, "next", wait=10)).state == "handled"
        await says(holder, "got next")
        beats = await fleet.client.heartbeats()
    assert shown(holder) == [("hold", 1, False), ("next", 1, False)]
    assert shown(other) == []
    ada, bea = sorted(beats, key=lambda beat: beat.bot_id)
    assert (ada.pid, ada.host, ada.boot_id) == (bea.pid, bea.host, bea.boot_id) == (1, ada.host, ada.boot_id)
    assert ada.pid_ns != bea.pid_ns


async def test_a_bot_that_starts_again_in_a_new_namespace_runs_at_once_and_gets_its_message_later(
    place, scripts, elsewhere
):
    first = first_process(scripts, place, "ada")
    await says(first, "Sent heartbeat")
    async with process(place.settings(folder=place.folder / "a third")) as fleet:
        await fleet.client.send("ada", "hold")
        await says(first, "got hold")
        first.close()
        (place.folder / "elsewhere" / "go on").touch()
        body, env = f"print('runs')\n{MAIN}", place.variables()
        second = elsewhere.bot(body, "bot_id='ada'", head=IMPATIENT, behind=with_own_pids(), **env)
        await says(second, "holds bot id ada, and may be dead")
        async with takes_at_most(2):
            await says(second, "runs")
        owner = "admin:owner:{admin:queue:ada}"
        assert 20 < place.redis.ttl(owner) <= 30  # the dead one's, and nobody renews it
        assert shown(second) == []
        place.redis.expire(owner, 1)  # as it would be half a minute later
        await until(lambda: shown(second), 10)
        assert (await fleet.client.send("ada", "last", wait=10)).state == "handled"
        await says(second, "got last")
    assert shown(second) == [("hold", 2, True), ("last", 1, False)]


async def test_two_hosts_whose_bots_have_the_same_pid_have_two_bots(place, scripts, elsewhere):
    bots = {}
    for start, host in ((scripts, "one"), (elsewhere, "two")):
        bots[host] = start.bot(MAIN, "", behind=as_second_process_of(host), **place.variables())
        await says(bots[host], "Sent heartbeat")
    async with process(place.settings(folder=place.folder / "a third")) as fleet:
        beats = {beat.bot_id: (beat.host, beat.pid) for beat in await fleet.client.heartbeats()}
        (pid,) = {pid for _, pid in beats.values()}
        one, two = str(pid), f"two-{pid}"
        assert beats == {one: ("one", pid), two: ("two", pid)}
        for bot_id, host in ((one, "one"), (two, "two")):
            assert (await fleet.client.send(bot_id, host, wait=10)).state == "handled"
        await fleet.client.control(one, "stop")
        assert await ends(bots["one"]) == 0
        assert (await fleet.client.send(two, "more", wait=10)).state == "handled"
    assert "returned None" in bots["one"].out.pop()
    assert shown(bots["one"]) == [("one", 1, False)]
    assert shown(bots["two"]) == [("two", 1, False), ("more", 1, False)]


# The first process of a pid namespace: it has a bot killed, and gives its pid to a stranger.
REUSED = """
import json, os, signal, subprocess, sys
from pathlib import Path

NEXT = Path("/proc/sys/kernel/ns_last_pid")

# Both in one process: to start it takes longer than both.
SEEN = "from botvisor.cli import main; main(['ps', '--all', '--json']); main(['reap', '--kill', '--json'])"

def start():
    bot = subprocess.Popen([sys.executable, "bot.py"], stdout=subprocess.PIPE, text=True)
    return bot, bot.stdout.readline().strip()

bot, first = start()
bot.kill()
bot.wait()
for _ in range(20):
    try:
        NEXT.write_text(str(bot.pid - 1))
    except OSError as error:
        print("SKIP", error, flush=True)
        sys.exit()
    stranger = subprocess.Popen(["sleep", "60"])
    if stranger.pid == bot.pid:
        break
    stranger.kill()
    stranger.wait()
facts = {"first": first, "pids": [bot.pid, stranger.pid]}
seen = subprocess.run([sys.executable, "-c", SEEN], capture_output=True, text=True, check=True).stdout
facts["fleet"], facts["reaped"] = map(json.loads, seen.splitlines())
Path("go on").touch()
successor, facts["second"] = start()
facts["stranger ended"] = stranger.poll()
successor.kill()
stranger.kill()
print(json.dumps(facts), flush=True)
"""
RULES = {"BOT_ZOMBIE_SPAWN_GRACE_SECS": "0", "BOT_ZOMBIE_REQUIRED_STALE_HITS": "1"}


async def test_a_stranger_with_the_pid_of_a_killed_bot_is_neither_killed_nor_taken_for_it(place, scripts):
    bot = "import os, signal\nimport anyio\nfrom botvisor import run_bot\nasync def main(bot):\n"
    bot += "\n".join(f"    {line}" for line in MAIN.splitlines())
    (place.folder / "bot.py").write_text(bot + "\nrun_bot(main)\n")
    async with process(place.settings(folder=place.folder / "a third")) as fleet:
        receipt = await fleet.client.send("ada", "hold")
    driver = scripts.start(
        REUSED, behind=with_own_pids(), **place.variables(BOT_ID="ada", BOT_LOG_LEVEL="ERROR", **RULES)
    )
    assert await ends(driver) == 0, driver.stderr
    if driver.out[-1].startswith("SKIP"):
        pytest.skip(f"this machine lets us choose no pid: {driver.out[-1]}")
    facts = json.loads(driver.out[-1])
    assert facts["pids"][0] == facts["pids"][1]
    assert [(row["bot_id"], row["status"]) for row in facts["fleet"]] == [("ada", "lost")]
    assert facts["reaped"] == []
    assert facts["stranger ended"] is None
    assert (facts["first"], facts["second"]) == ("got hold 1 first", "got hold 2 again")
    assert receipt.id
