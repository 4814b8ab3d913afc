"""Real Sentinels replace the primary under a bot: it works on files meanwhile, and loses nothing."""

import anyio
import pytest

from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.config import load_settings

from .. import redis_bots, redis_server, sentinel_rig
from ..bot_rig import logged, until
from ..readme import blocks, variables
from ..redis_bots import process

servers = redis_server.servers
watched = sentinel_rig.watched
places = redis_bots.places

BELL = "admin:bot:ada"


@pytest.fixture
def anyio_backend():
    return "asyncio"


def listens(place):
    return dict(place.redis.pubsub_numsub(BELL))[BELL.encode()] > 0


def ours(place):
    """The names of our connections to a server."""
    return {each["name"] for each in place.redis.client_list()} & {"botvisor", "botvisor-bell"}


async def test_a_killed_primary_is_replaced_and_the_bot_follows_and_loses_nothing(watched):
    old, new = watched.places
    async with process(watched.settings()) as fleet:
        bot = await fleet.start()
        held = await fleet.client.send("ada", "wait")
        await bot.reader.handling.wait()
        waiting = await fleet.client.send("ada", "waiting")
        assert (held.where, waiting.where) == ("redis", "redis")
        assert listens(old)
        await until(watched.caught_up)
        old.server.kill()
        # At once: who asks for nothing until another one is primary does not even notice.
        meanwhile = await fleet.client.send("ada", "meanwhile")
        assert (meanwhile.where.partition("@")[0], fleet.mode) == ("spool", "file")
        bot.reader.go_on.set()  # what it held is done while no Redis can be told
        await until(lambda: "meanwhile" in bot.reader.texts)
        await fleet.until_on("redis", within=60)
        assert watched.agree_on(new)
        await until(lambda: listens(new))
        after = await fleet.client.send("ada", "after", wait=10)
        assert after.where == "redis"
        await until(lambda: len(bot.reader.seen) >= 4)
        assert sorted(bot.reader.texts) == ["after", "meanwhile", "wait", "waiting"]  # each once
        for receipt in (held, waiting, meanwhile, after):
            assert (await fleet.client.receipt(receipt)).state == "handled"

        # The old primary comes back as a primary: it is not asked, nor once it is a replica.
        await old.server.start()
        assert old.redis.info("replication")["role"] == "master"
        assert (await fleet.client.send("ada", "and on", wait=10)).where == "redis"
        assert not ours(old)
        old.redis.replicaof("127.0.0.1", new.server.port)  # as the Sentinels do some seconds later
        await until(lambda: old.redis.info("replication")["master_link_status"] == "up", 20)
        assert (await fleet.client.send("ada", "and on again", wait=10)).where == "redis"
        assert not ours(old)
        assert ours(new) == {"botvisor", "botvisor-bell"}


async def test_a_primary_that_is_replaced_though_it_is_well_is_left_at_once(watched):
    old, new = watched.places
    with logged() as lines:
        async with process(watched.settings()) as fleet:
            bot = await fleet.start()
            assert (await fleet.client.send("ada", "before", wait=10)).where == "redis"
            watched.fail_over()
            await until(lambda: "botvisor" in ours(new), 20)
            # For some seconds more it would take what it then forgets.
            assert old.redis.info("replication")["role"] == "master"
            assert "botvisor" not in ours(old)
            assert (await fleet.client.send("ada", "after", wait=10)).where == "redis"
            assert (await fleet.client.send("bea", "for later")).where == "redis"
            assert new.redis.llen("admin:queue:bea") == 1
            assert bot.reader.texts == ["before", "after"]
            assert {beat.bot_id for beat in await fleet.client.heartbeats()} == {"ada"}
    assert any("The Sentinels name " in line for line in lines)
    assert [line for line in lines if line.startswith("ERROR")] == []


async def test_a_primary_that_was_made_a_replica_is_left_for_the_new_one(watched):
    old, new = watched.places
    async with process(watched.settings()) as fleet:
        bot = await fleet.start()
        assert (await fleet.client.send("ada", "before", wait=10)).where == "redis"
        watched.fail_over()
        await until(lambda: watched.agree_on(new), 20)
        # As the Sentinels do some seconds later; its connections stay, and each write is READONLY.
        old.redis.replicaof("127.0.0.1", new.server.port)
        sent = ["before"]
        with anyio.fail_after(60):
            while "botvisor" not in ours(new) or fleet.mode != "redis":
                sent.append(f"during {len(sent)}")
                await fleet.client.send("ada", sent[-1])
                await anyio.sleep(0.05)
        assert "botvisor" not in ours(old)
        assert (await fleet.client.send("ada", "after", wait=10)).where == "redis"
        assert sorted(bot.reader.texts) == sorted([*sent, "after"])  # each once


async def test_a_primary_that_no_replica_follows_is_not_written_to(places):
    place = await places(*sentinel_rig.NO_REPLICA.splitlines())
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            receipt = await fleet.client.send("ada", "hello", wait=10)
            assert (receipt.where.partition("@")[0], bot.reader.texts) == ("spool", ["hello"])
    assert any("the server waits for replicas (min-replicas-to-write)" in line for line in lines)


def test_the_variables_on_the_page_about_sentinels_name_them_all():
    (code,) = [code for language, code in blocks(sentinel_rig.PAGE) if language == "sh"]
    endpoint = endpoint_of(load_settings(variables(code)))
    assert len(endpoint.sentinels.hosts) == sentinel_rig.SENTINELS
    assert endpoint.sentinels.service == sentinel_rig.SERVICE
    assert endpoint.warnings == ()
