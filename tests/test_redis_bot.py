"""A bot on Redis from end to end: messages, receipts, identities, broadcasts, heartbeats, and its end."""

import json

import anyio
import pytest

from botvisor.actors.backend import redis_doorbell

from . import processes, redis_bots, redis_server
from .bot_rig import logged, until
from .processes import LOOPS
from .redis_bots import ROOM, process, takes_at_most, until_seen

servers = redis_server.servers
scripts = processes.scripts
place = redis_bots.place

RAW_ROOM = "HTTPS://Example.test:443/room/"


@pytest.fixture
def loop(request):
    return LOOPS[request.node.callspec.params["anyio_backend"]]


async def test_takes_what_is_sent_to_its_id_to_its_room_and_before_it_was_there(place):
    place.send(f"pre-spawn:{ROOM}", id="early", message="before")
    async with process(place.settings()) as fleet:
        bot = await fleet.start(room_url=RAW_ROOM)
        await until_seen(bot, "before")
        by_id = await fleet.client.send("ada", "to the id", wait=10, mode="immediate", sender_name="Ann")
        by_room = await fleet.client.send(ROOM, {"message": "to the room", "context": 7}, wait=10)
        place.send(RAW_ROOM, id="raw", message="to the raw room")
        seen = await until_seen(bot, "before", "to the id", "to the room", "to the raw room")
        assert [(receipt.state, receipt.where) for receipt in (by_id, by_room)] == [("handled", "redis")] * 2
        assert [(message.source, message.redelivered) for message in seen] == [("redis", False)] * 4
        assert (seen[1].mode, seen[1].sender_name, seen[2].data["context"]) == ("immediate", "Ann", 7)
        assert place.spooled() == []


async def test_a_receipt_tells_how_far_a_message_has_come(place):
    async with process(place.settings()) as fleet:
        receipt = await fleet.client.send("ada", "wait")
        assert (await fleet.client.receipt(receipt)).state == "stored"
        bot = await fleet.start()
        await bot.reader.handling.wait()
        assert (await fleet.client.receipt(receipt)).state == "delivered"
        bot.reader.go_on.set()
        assert (await fleet.client.send("ada", "end", wait=10)).state == "handled"
        assert (await fleet.client.receipt(receipt)).state == "handled"


async def test_two_processes_share_identities_and_the_doorbell_ends_what_one_has_cached(place, scripts, loop):
    other = scripts.bot(
        """
        await bot.identities.write("ann", {"name": "Ann"})
        print("wrote")
        async for message in bot.inbox:
            read = await bot.identities.read("bob")
            while message.text == "changed" and read["name"] != "Robert":
                await anyio.sleep(0.01)
                read = await bot.identities.read("bob")
            print("read", read["name"], [each["participant_id"] for each in await bot.identities.list()])
        """,
        f"room_url='{ROOM}', bot_id='bea', {loop}",
        **place.variables(),
    )
    async with process(place.settings()) as fleet:
        identities = (await fleet.start()).bot.identities
        await identities.write("bob", {"name": "Bob"})
        await anyio.to_thread.run_sync(other.says, "wrote")
        assert (await identities.read("ann"))["name"] == "Ann"
        await fleet.client.send("bea", "look", wait=10)
        assert other.says("read") == "read Bob ['ann', 'bob']"
        await identities.write("bob", {"name": "Robert"})
        async with takes_at_most(10):  # a cached one would live for thirty seconds
            assert (await fleet.client.send("bea", "changed", wait=10)).state == "handled"
        other.process.terminate()
        assert await anyio.to_thread.run_sync(other.ends) == 0


async def test_takes_a_broadcast_that_is_meant_for_it(place, anyio_backend):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        await until(lambda: place.redis.pubsub_numsub("admin:broadcast")[0][1] == 1)
        for each in (
            {"id": "a", "type": "admin", "action": "refresh", "fromAdmin": "Ann"},
            {"id": "b", "type": "admin", "action": "not ours", "data": {"botPid": 99}},
            {"id": "c", "type": "admin", "action": "our room", "data": {"roomUrl": RAW_ROOM}},
            {"id": "a", "type": "admin", "action": "refresh", "fromAdmin": "Ann"},
        ):
            place.redis.publish("admin:broadcast", json.dumps(each))
        seen = await until_seen(bot, "refresh", "our room")
        assert [message.source for message in seen] == ["broadcast"] * 2


async def test_says_in_its_heartbeats_who_is_in_the_room_and_how_it_is(place):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        bot.bot.participants.add("user1")
        key = "heartbeat:ada"
        await until(lambda: place.redis.hget(key, "participants") == b'["user1"]')
        assert 0 < place.redis.ttl(key) <= 30
        beat = await fleet.client.heartbeat("ada")
        assert (beat.room_url, beat.participants, beat.status) == (ROOM, ("user1",), "healthy")
        assert (beat.health["backend"], beat.health["store"]["fallbacks"]) == ("redis", 0)


async def test_leaves_an_epitaph_and_no_lease(place):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        await bot.stop("it is late")
        beat = await fleet.client.heartbeat("ada")
        assert (beat.status, beat.epitaph["reason"]) == ("stopped", "it is late")
        assert b"it is late" in place.redis.get("bots:epitaph:ada")
        assert place.redis.keys("admin:owner:*") == []


async def test_a_bot_that_was_killed_is_lost_and_its_successor_gets_the_message_it_held(place, scripts):
    async with process(place.settings()) as fleet:
        body = "async for message in bot.inbox:\n    print('holds', message.text)\n    await anyio.sleep(99)"
        killed = scripts.bot(body, f"room_url='{ROOM}', bot_id='ada'", **place.variables())
        receipt = await fleet.client.send(ROOM, "hello")
        await anyio.to_thread.run_sync(killed.says, "holds hello")
        killed.close()
        place.redis.delete("heartbeat:ada")  # as it would be after its thirty seconds
        place.redis.zadd("bots:alive", {"ada": 0})
        assert (await fleet.client.heartbeat("ada")).status == "lost"
        successor = await fleet.start()
        async with takes_at_most(5):  # it was a process of this host: nobody waits for its lease to run out
            (message,) = await until_seen(successor, "hello")
        assert (message.redelivered, message.tries) == (True, 2)
        await fleet.client.send(ROOM, "end", wait=10)
        assert (await fleet.client.receipt(receipt)).state == "handled"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # each command waits for the next second's look
async def test_obeys_control_commands_that_come_over_redis(place, monkeypatch):
    monkeypatch.setattr(redis_doorbell, "LOOK_EVERY_S", redis_doorbell.LOOK_EVERY_S / 4)
    async with process(place.settings()) as fleet:
        bot = await fleet.start()

        async def beat_says(wanted):
            with anyio.fail_after(10):
                while not wanted(await fleet.client.heartbeat("ada")):
                    await anyio.sleep(0.01)

        await fleet.client.control("ada", "stack")
        await beat_says(lambda beat: "ada/inbox" in beat.health.get("stack", ()))
        with logged() as lines:
            await fleet.client.control("ada", "restart", actor="inbox")
            await until(lambda: any("Restarted ada/inbox" in line for line in lines))
        assert (await fleet.client.send("ada", "still there", wait=10)).state == "handled"
        await fleet.client.control("ada", "drain")
        with anyio.fail_after(10):
            await bot.wait()
        assert (await fleet.client.heartbeat("ada")).epitaph["reason"] == "client sent drain"
        again = await fleet.start()
        await fleet.client.control("ada", "stop")
        with anyio.fail_after(10):
            await again.wait()
        assert place.redis.keys("admin:ctl:*") == []
