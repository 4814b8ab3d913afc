"""A Redis Cluster loses a node, or moves slots, under a bot that works: nothing is lost."""

import anyio
import pytest

from .. import cluster_rig
from ..bot_rig import logged, until
from ..redis_bots import BACK, LOST, process, takes_at_most

world, own_world = cluster_rig.world, cluster_rig.own_world

Q = "admin:queue:ada"


@pytest.fixture
def anyio_backend():
    return "asyncio"


def bell_at(cluster):
    """The number of the node that the doorbell listens on; None while it has none."""
    import redis

    for number, client in enumerate(cluster.clients):
        try:
            if any(each["name"] == "botvisor-bell" for each in client.client_list()):
                return number
        except redis.RedisError:
            continue
    return None


def all_marked(seen):
    texts = [message.text for message in seen]
    return all(message.redelivered for at, message in enumerate(seen) if message.text in texts[:at])


async def test_bots_on_a_cluster_are_reached_seen_and_share_identities(world):
    async with process(world.settings()) as fleet, process(world.settings()) as other:
        bots = [await fleet.start(bot_id=f"b{n}", room_url=f"{cluster_rig.ROOM}{n}") for n in range(6)]
        for bot in bots:  # a bell rings on whatever node it is heard
            receipt = await other.client.send(bot.id, "hello", wait=0.9)
            assert (receipt.where, receipt.state) == ("redis", "handled")
        assert {beat.bot_id for beat in await other.client.heartbeats()} == {bot.id for bot in bots}
        await bots[0].bot.identities.write("ann", {"name": "Ann"})
        assert [found["name"] for found in await bots[0].bot.identities.list()] == ["Ann"]
        assert (await bots[0].bot.identities.read("ann"))["name"] == "Ann"


async def test_a_slot_moves_while_a_bot_works_and_nothing_is_lost(world):
    cluster = world.cluster
    async with process(world.settings(cluster.url)) as fleet:
        bot = await fleet.start()
        sent, moving = [], True

        async def send():
            while moving:
                sent.append(f"message {len(sent)}")
                await fleet.client.send("ada", sent[-1])
                await anyio.sleep(0.005)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            for _ in range(3):
                to = (cluster.owner(Q) + 1) % cluster_rig.NODES
                source = cluster.begin_to_move(Q, to)
                await anyio.sleep(0.05)
                cluster.move_keys(Q, source, to)
                cluster.end_move(Q, to)
                await anyio.sleep(0.1)
            moving = False
        assert (await fleet.client.send("ada", "end of it", wait=20)).state == "handled"
        await until(lambda: {*sent, "end of it"} <= set(bot.reader.texts), 20)
        assert all_marked(bot.reader.seen)


async def test_a_node_is_killed_and_comes_back_and_the_bot_loses_nothing(world):
    cluster = world.cluster
    with logged() as lines:
        async with process(world.settings()) as fleet:
            bot = await fleet.start()
            held = await fleet.client.send("ada", "wait")
            await bot.reader.handling.wait()
            assert held.where == "redis"
            await until(lambda: bell_at(cluster) is not None)
            server = cluster.servers[bell_at(cluster)]
            server.kill()
            await fleet.until_on("file")
            bot.reader.go_on.set()
            meanwhile = await fleet.client.send("ada", "meanwhile", wait=10)
            assert (meanwhile.where.partition("@")[0], meanwhile.state) == ("spool", "handled")
            await until(lambda: bell_at(cluster) is not None, 20)  # on a node that lives
            await server.start()
            await cluster.well()
            await fleet.until_on("redis", within=30)
            assert (await fleet.client.send("ada", "after", wait=10)).where == "redis"
            assert sorted(bot.reader.texts) == ["after", "meanwhile", "wait"]  # each once
            assert (await fleet.client.receipt(held)).state == "handled"
    told = [line for line in lines if LOST in line or BACK in line]
    assert [LOST in line for line in told] == [True, False]


async def test_a_node_that_hangs_is_found_though_the_others_answer(world):
    cluster = world.cluster
    for client in cluster.clients:
        client.config_set("cluster-node-timeout", 60_000)  # the others take it for well
    hung = cluster.servers[cluster.owner(Q)]
    try:
        with logged() as lines:
            async with process(world.settings()) as fleet:
                bot = await fleet.start()
                other = await fleet.start(bot_id="bea", room_url="")
                hung.pause()
                async with takes_at_most(5):
                    await fleet.until_on("file")
                for target in (bot, other):
                    sent = await fleet.client.send(target.bot.id, "meanwhile", wait=10)
                    assert (sent.where.partition("@")[0], sent.state) == ("spool", "handled")
                hung.resume()
                await fleet.until_on("redis")
                assert (await fleet.client.send("ada", "after", wait=10)).where == "redis"
        (told,) = [line for line in lines if LOST in line]
        assert told.endswith("no answer for 1.5 s - falling back to files")
        assert bot.reader.texts == ["meanwhile", "after"]
    finally:
        hung.resume()
        for client in cluster.clients:
            client.config_set("cluster-node-timeout", 1000)


async def test_a_node_that_is_killed_is_replaced_by_its_replica_and_the_bot_follows(own_world):
    cluster = own_world.cluster
    owner = cluster.owner(Q)
    await cluster.add_replica(own_world.servers_in / "replica", owner)
    async with process(own_world.settings(cluster.url_of(owner))) as fleet:
        bot = await fleet.start()
        assert (await fleet.client.send("ada", "before", wait=10)).where == "redis"
        cluster.servers[owner].kill()
        # At once: who asks for nothing until it is replaced does not even notice.
        assert (await fleet.client.send("ada", "meanwhile")).where.startswith("spool@")
        await until(lambda: "meanwhile" in bot.reader.texts)
        await fleet.until_on("redis", within=60)
        assert cluster.clients[-1].info("replication")["role"] == "master"
        await until(lambda: bell_at(cluster) is not None, 20)
        assert (await fleet.client.send("ada", "after", wait=10)).where == "redis"
        assert sorted(bot.reader.texts) == ["after", "before", "meanwhile"]  # each once
