"""Queues on Redis that go from one bot to the next: after a kill, an outage, or with nobody to judge."""

import anyio
import pytest

from botvisor.actors import inbox
from botvisor.errors import BotIdTaken
from botvisor.process import Owner

from . import processes, redis_bots, redis_server
from .bot_rig import logged, until
from .redis_bots import ROOM, process, takes_at_most, until_seen

servers = redis_server.servers
scripts = processes.scripts
place, kept = redis_bots.place, redis_bots.kept

# A bot that holds what it is told to hold until it is told to go on, by a file.
HOLDS = """
async for message in bot.inbox:
    print("got", message.text, "again" if message.redelivered else "")
    while message.text == "hold" and not os.path.exists("go on"):
        await anyio.sleep(0.01)
"""
ELSEWHERE = Owner(
    instance="elsewhere",
    bot_id="ada",
    host="another-host",
    boot_id="another boot",
    pid_ns="pid:[1]",
    pid=7,
    start_ticks=1,
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def impatient(monkeypatch):
    """Bots try for what somebody else serves five times as often as they do."""
    monkeypatch.setattr(inbox, "TRY_EVERY_S", 1.0)


async def says(program, text, **more):
    return await anyio.to_thread.run_sync(lambda: program.says(text, **more))


def lease_from_elsewhere(place, key, lives_s):
    """Leave the lease of a process that nobody here can judge, and a message that it had in flight."""
    queue = f"admin:queue:{key}"
    fields = {name: str(getattr(ELSEWHERE, name)) for name in Owner.__struct_fields__}
    place.redis.hset(f"admin:owner:{{{queue}}}", mapping=fields)
    place.redis.expire(f"admin:owner:{{{queue}}}", lives_s)
    proc = {"token": "1.1-x", "raw": '{"id":"m","message":"held"}', "tries": "1", "attempt": "elsewhere-0"}
    place.redis.hset(f"admin:proc:{{{queue}}}", mapping=proc)
    place.redis.expire(f"admin:proc:{{{queue}}}", 7200)


async def test_of_two_bots_in_a_room_the_other_takes_over_when_the_holder_is_killed(
    place, scripts, impatient
):
    holder = scripts.bot(HOLDS, f"room_url='{ROOM}', bot_id='bea'", **place.variables())
    await says(holder, "Sent heartbeat")
    await until(lambda: place.redis.exists(f"admin:owner:{{admin:queue:{ROOM}}}"))
    async with process(place.settings()) as fleet:
        with logged() as lines:
            bot = await fleet.start()
            for number in range(5):
                await fleet.client.send(ROOM, str(number), wait=5)
            await fleet.client.send(ROOM, "hold")
            await fleet.client.send(ROOM, "next")
            await says(holder, "got hold")
            assert bot.reader.texts == []
            holder.close()
            async with takes_at_most(4):
                held, after = await until_seen(bot, "hold", "next")
        assert (held.redelivered, held.tries, after.redelivered) == (True, 2, False)
        assert [line for line in holder.out if "got" in line] == [
            f"got {text} " for text in [*"01234", "hold"]
        ]
        told = [line.partition(" serves ")[2] for line in lines if f"serves room {ROOM}" in line]
        assert told == [f"room {ROOM}: bot ada stands by", f"room {ROOM} now"]
        assert [line for line in lines if line.startswith("ERROR")] == []


@pytest.mark.parametrize("starts", ["before Redis", "after Redis"])
async def test_what_was_handled_while_redis_was_away_is_not_shown_to_the_bots_next_run(kept, scripts, starts):
    arguments = f"room_url='{ROOM}', bot_id='ada'"
    first = scripts.bot(HOLDS, arguments, **kept.variables())
    async with process(kept.settings(folder=kept.folder / "another host")) as fleet:
        by_id = await fleet.client.send("ada", "hold")
        by_room = await fleet.client.send(ROOM, "by room")
        await says(first, "got hold")
    kept.server.kill()
    await says(first, "Ping failed")
    (kept.folder / "go on").touch()
    await says(first, "got by room")
    acks = kept.folder / "admin_message" / "ada.acks"
    await until(lambda: acks.exists() and by_room.id in acks.read_text())
    first.close()
    second = None
    if starts == "before Redis":
        second = scripts.bot(HOLDS, arguments, **kept.variables())
        await says(second, "Ping failed")
    await kept.server.start()
    second = second or scripts.bot(HOLDS, arguments, **kept.variables())
    async with process(kept.settings(folder=kept.folder / "another host")) as fleet:
        assert (await fleet.client.send("ada", "last", wait=15)).state == "handled"
        assert [(await fleet.client.receipt(each)).state for each in (by_id, by_room)] == ["handled"] * 2
        assert [line for line in second.out if "got" in line] == ["got last "]
    await until(lambda: not acks.exists())
    assert await anyio.to_thread.run_sync(second.stop) == 0
    assert [line for line in [*first.err, *second.err] if "ERROR" in line] == []


async def test_a_bot_whose_id_may_be_held_by_a_dead_one_runs_at_once_and_gets_its_message_later(
    place, impatient
):
    lease_from_elsewhere(place, "ada", lives_s=2)
    async with process(place.settings(bot_id="ada")) as fleet:
        with logged() as lines:
            async with takes_at_most(1):
                bot = await fleet.start(bot_id=None)
            assert bot.id == "ada"
            await fleet.client.send(ROOM, "by room", wait=5)
            assert bot.reader.texts == ["by room"]
            async with takes_at_most(6):
                _, held = await until_seen(bot, "by room", "held")
            assert (held.redelivered, held.tries) == (True, 2)
            assert (await fleet.client.send("ada", "last", wait=5)).state == "handled"
        warned = [line for line in lines if "may be dead" in line]
        assert len(warned) == 1
        assert "process 7 on another-host (bot ada, instance elsewhere) holds bot id ada" in warned[0]
        assert [line for line in lines if line.startswith("ERROR")] == []


async def test_a_command_to_an_id_is_left_for_whoever_holds_it(place, impatient):
    lease_from_elsewhere(place, "ada", lives_s=20)
    async with process(place.settings(bot_id="ada")) as fleet:
        bot = await fleet.start(bot_id=None)
        await fleet.start(bot_id="bea", room_url="")
        for bot_id, command in (("ada", "stop"), ("bea", "stack")):
            await fleet.client.control(bot_id, command)
        # One look finds both; bea is the bot of that id.
        await until(lambda: not place.redis.exists("admin:ctl:{admin:queue:bea}"))
        await fleet.client.send(ROOM, "goes on", wait=5)
        assert bot.reader.texts == ["goes on"]
        assert place.redis.llen("admin:ctl:{admin:queue:ada}") == 1
        place.redis.delete("admin:owner:{admin:queue:ada}")
        with anyio.fail_after(10):
            await bot.wait()
    assert place.redis.llen("admin:ctl:{admin:queue:ada}") == 0


async def test_a_given_id_of_a_bot_that_lives_is_refused_and_its_owner_named(place, scripts):
    first = scripts.bot(HOLDS, "bot_id='ada'", **place.variables())
    await says(first, "Sent heartbeat")
    await until(lambda: place.redis.exists("admin:owner:{admin:queue:ada}"))
    folder = place.folder / "another host"  # whose files know nothing of the first
    async with process(place.settings(folder=folder)) as fleet:
        with pytest.raises(BotIdTaken, match=f"process {first.pid} on "):
            await fleet.start()
        assert (await fleet.start(bot_id="bea")).id == "bea"
    second = scripts.bot("pass", "bot_id='ada'", **place.variables())
    assert await anyio.to_thread.run_sync(second.ends) == 1
    assert f"process {first.pid} on " in second.err[-1]
