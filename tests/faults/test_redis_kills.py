"""Redis is killed, emptied, or comes and goes: what was accepted arrives, and repeats are marked."""

import anyio
import pytest

from botvisor.testing import open_proxy

from .. import redis_bots, redis_server
from ..bot_rig import logged, until
from ..redis_bots import LOST, ROOM, attentive, kept_copies, process, until_seen
from .traffic import traffic, until_all_arrived, until_more

servers = redis_server.servers
place, kept, places = redis_bots.place, redis_bots.kept, redis_bots.places

ALIVE = "bots:alive"
OWNER = "admin:owner:{admin:queue:ada}"
KEEPS = {
    "AOF everysec": ("appendonly yes", "appendfsync everysec"),
    "RDB only": ("save 1 1",),
    "nothing": (),
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_redis_that_writes_down_each_command_loses_nothing_when_it_is_killed(kept):
    far_away = kept.settings(folder=kept.folder / "another host")
    async with process(kept.settings()) as fleet, process(far_away) as other:
        bot = await fleet.start()
        async with traffic(fleet, other) as receipts:
            for _ in range(2):
                await until_more(receipts)
                kept.server.kill()
                await fleet.until_on("file")
                await other.until_on("file")
                await kept.server.start()
                await fleet.until_on("redis")
                await other.until_on("redis")
            await until_more(receipts)
        await until_all_arrived(receipts, bot.reader)
        assert {receipt.where.partition("@")[0] for receipt in receipts} == {"redis", "spool"}


@pytest.mark.parametrize("keeps", KEEPS)
async def test_durable_messages_are_not_lost_whatever_redis_has_kept(places, keeps):
    there = await places(*KEEPS[keeps])
    far_away = there.settings(folder=there.folder / "another host")
    async with attentive(far_away, forward_every_s=0.2) as sender:
        async with traffic(sender, durable=True) as receipts:
            await until_more(receipts, 20)
        there.server.kill()  # with all of it waiting there
        await there.server.start()
        async with process(there.settings()) as fleet:
            bot = await fleet.start()
            await until_all_arrived(receipts, bot.reader)
        await until(lambda: kept_copies(there.folder / "another host") == [], 20)


async def test_a_redis_that_forgot_loses_what_only_it_had_and_nothing_that_was_handled(place):
    async with process(place.settings(file_fallback=False)) as fleet:
        bot = await fleet.start()
        held = await fleet.client.send("ada", "wait")
        await bot.reader.handling.wait()
        gone = await fleet.client.send("ada", "gone")
        place.server.kill()
        await fleet.until_on("none")
        bot.reader.go_on.set()
        await place.server.start()
        await fleet.until_on("redis")
        assert (await fleet.client.send("ada", "last", wait=5)).where == "redis"
        assert bot.reader.texts == ["wait", "last"]
        states = [(await fleet.client.receipt(receipt)).state for receipt in (held, gone)]
        assert states == ["handled", "stored"]  # a receipt never goes back


@pytest.mark.parametrize("how", ["emptied", "another run"])
async def test_a_redis_without_memory_is_told_of_bots_anew_and_an_id_that_comes_again_is_known(place, how):
    with logged() as lines:
        async with process(place.settings(heartbeat_interval_s=1)) as fleet:
            bot = await fleet.start()
            place.send("ada", id="one", message="once")
            await until_seen(bot, "once")
            if how == "emptied":
                place.redis.flushall()
            else:
                await place.server.restart()
            await until(lambda: place.redis.exists("heartbeat:ada", OWNER) == 2, 20)
            await until(lambda: place.redis.zscore(ALIVE, "ada"))
            await fleet.until_on("redis")
            place.send("ada", id="one", message="once")
            assert (await fleet.client.send("ada", "last", wait=5)).where == "redis"
            await bot.bot.identities.write("ann", {"name": "Ann"})
            assert place.redis.zscore(f"identity-index:{ROOM}", "ann")
            assert bot.reader.texts == ["once", "last"]
    assert [line for line in lines if line.startswith("ERROR")] == []


async def test_a_redis_that_comes_and_goes_is_not_stormed_and_loses_nothing(kept):
    """Faster than each second; how the waits double is tested without a server."""
    with logged() as lines:
        async with (
            open_proxy(kept.server.port) as between,
            process(kept.settings(port=between.port)) as fleet,
        ):
            bot = await fleet.start()
            before = between.accepted
            async with traffic(fleet) as receipts:
                for _ in range(5):
                    between.refuse()
                    await anyio.sleep(0.3)
                    between.pass_on()
                    await anyio.sleep(0.3)
                asked = between.accepted - before
                await fleet.until_on("redis")
                await until_more(receipts)
            await until_all_arrived(receipts, bot.reader)
    left = len([line for line in lines if LOST in line])
    print(f"{asked} connections, left {left} times")
    assert 1 <= left <= 3
    assert asked <= 20  # the doorbell's too
