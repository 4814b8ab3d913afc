"""Bots on a Redis that answers and refuses: passwords, replicas, full memory, wrong types, lost memory."""

import anyio
import pytest

from .. import redis_bots, redis_server
from ..bot_rig import logged, until
from ..redis_bots import BACK, LOST, ROOM, process, takes_at_most, until_seen

servers = redis_server.servers
place = redis_bots.place

OWNER = "admin:owner:{admin:queue:ada}"


@pytest.fixture
def anyio_backend():
    return "asyncio"


def errors(lines):
    return [line for line in lines if line.startswith("ERROR")]


def changes(lines):
    """What was said of the backend's changes."""
    return [line for line in lines if LOST in line or BACK in line]


async def test_a_password_that_is_set_while_bots_run_makes_one_error_and_no_storm(place):
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            place.redis.config_set("requirepass", "secret")
            place.redis.execute_command("AUTH", "secret")
            place.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            place.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
            async with takes_at_most(3):
                assert (await fleet.client.send("ada", "finds out", wait=5)).where.startswith("spool@")
            tried = place.redis.info("stats")["total_connections_received"]
            async with takes_at_most(2):
                for number in range(20):
                    await fleet.client.send("ada", str(number), wait=5)
                    await bot.bot.identities.write("ann", {"number": number})
                    bot.bot.participants.add(str(number))
            await anyio.sleep(1.5)  # somebody who asks each second would have asked
            assert place.redis.info("stats")["total_connections_received"] - tried <= 1
            assert bot.reader.texts == ["finds out", *map(str, range(20))]
            place.redis.execute_command("CONFIG", "SET", "requirepass", "")
    (error,) = errors(lines)
    assert "set REDIS_SHARED_SECRET or REDIS_PASSWORD_FILE" in error
    (lost,) = changes(lines)
    assert lost.startswith("INFO [redis-client] Ping failed: NOAUTH Authentication required")
    assert "secret" not in "".join(lines)


async def test_a_server_that_becomes_a_replica_is_left_until_it_may_be_written_to(place):
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            place.redis.replicaof("127.0.0.1", redis_server.free_port())
            async with takes_at_most(3):
                assert (await fleet.client.send("ada", "meanwhile", wait=5)).where.startswith("spool@")
                await bot.bot.identities.write("ann", {"name": "Ann"})
            place.redis.replicaof("NO", "ONE")
            await fleet.until_on("redis")
            assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
            assert place.redis.exists(f"identity:{ROOM}:ann")
            seen = await until_seen(bot, "meanwhile", "after")
            assert not any(message.redelivered for message in seen)
    assert len(changes(lines)) == 2
    assert [line for line in errors(lines) if "this is a replica" not in line] == []
    assert len(errors(lines)) <= 1


async def test_a_full_server_sends_what_comes_to_files_and_goes_on_giving_what_it_has(place):
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            receipt = await fleet.client.send("ada", "wait")
            await bot.reader.handling.wait()
            on_redis = await fleet.client.send("ada", "stored before")
            place.redis.config_set("maxmemory", 1)
            spooled = await fleet.client.send("ada", "sent meanwhile")
            assert spooled.where.startswith("spool@")
            bot.bot.participants.add("ann")
            await bot.bot.identities.write("ann", {"name": "Ann"})
            bot.reader.go_on.set()
            await until(lambda: len(bot.reader.seen) == 3, 10)
            with anyio.fail_after(10):
                for each in (receipt, on_redis, spooled):
                    while (await fleet.client.receipt(each)).state != "handled":
                        await anyio.sleep(0.01)
            assert fleet.mode == "redis"
            place.redis.config_set("maxmemory", 0)
            await until(lambda: place.redis.exists(f"identity:{ROOM}:ann"))
            await fleet.client.send("ada", "after", wait=5)
            seen = bot.reader.seen
            assert sorted(bot.reader.texts) == ["after", "sent meanwhile", "stored before", "wait"]
            assert not any(message.redelivered for message in seen)
    assert changes(lines) == []
    (error,) = errors(lines)
    assert "Redis is full: raise maxmemory" in error


async def test_a_bot_on_a_full_server_is_degraded_and_tells_why_until_there_is_room(place):
    async def shown():
        beat = await fleet.client.heartbeat("ada")
        return beat.status, beat.health["store"]["reason"]

    async def until_shown(status):
        with anyio.fail_after(10):
            while (found := await shown())[0] != status:
                await anyio.sleep(0.02)
        return found[1]

    async with process(place.settings(heartbeat_interval_s=0.5)) as fleet:
        bot = await fleet.start()
        assert await until_shown("healthy") == ""
        place.redis.config_set("maxmemory", 1)
        assert (await until_shown("degraded")).endswith("Redis is full: raise maxmemory")
        assert fleet.mode == "redis"
        await fleet.client.send("ada", "reads on", wait=5)
        assert (await shown())[0] == "degraded"
        assert bot.bot.status == "degraded"
        place.redis.config_set("maxmemory", 0)
        assert await until_shown("healthy") == ""


async def test_a_queue_key_of_another_type_is_put_away_and_what_follows_flows(place):
    place.redis.set("admin:queue:ada", "not a list")
    place.redis.set("heartbeat:ada", "not a hash")
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            assert (await fleet.client.send("ada", "hello", wait=5)).state == "handled"
            place.redis.set(f"identity:{ROOM}:ann", "not a hash")
            assert await bot.bot.identities.read("ann") is None
            await bot.bot.identities.write("ann", {"name": "Ann"})
            place.redis.rpush("admin:queue:ada", b'\xff\xfe {"id"')
            await fleet.client.send("ada", "behind", wait=5)
            await until_seen(bot, "hello", "behind")
            assert place.redis.hget("heartbeat:ada", "bot_id") == b"ada"
    assert (changes(lines), errors(lines)) == ([], [])
    warnings = [line for line in lines if line.startswith("WARNING")]
    for what in ("admin:queue:ada (a string)", "heartbeat:ada (a string)", "Quarantined"):
        assert len([line for line in warnings if what in line]) == 1, warnings


async def test_a_server_that_loses_its_memory_gets_leases_heartbeats_and_messages_again(place):
    with logged() as lines:
        async with process(place.settings(heartbeat_interval_s=1)) as fleet:
            bot = await fleet.start()
            receipt = await fleet.client.send("ada", "wait")
            await bot.reader.handling.wait()
            place.redis.flushall()
            bot.reader.go_on.set()
            async with takes_at_most(5):
                assert (await fleet.client.send("ada", "next", wait=5)).state == "handled"
                assert (await fleet.client.send(ROOM, "to the room", wait=5)).state == "handled"
            assert (await fleet.client.receipt(receipt)).state == "handled"
            await until(lambda: place.redis.exists("heartbeat:ada", OWNER) == 2)
            assert [beat.status for beat in await fleet.client.heartbeats()] == ["healthy"]
            seen = await until_seen(bot, "wait", "next", "to the room")
            assert not any(message.redelivered for message in seen)
    assert (changes(lines), errors(lines)) == ([], [])
