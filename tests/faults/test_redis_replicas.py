"""A replica that lagged becomes the primary: what was handled stays handled, and durable messages arrive."""

import pytest

from botvisor.testing import open_proxy

from .. import redis_bots, redis_server
from ..bot_rig import until
from ..redis_bots import attentive, until_seen

servers = redis_server.servers
places = redis_bots.places

PROC = "admin:proc:{admin:queue:ada}"


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_lagging_replica_that_is_promoted_repeats_nothing_and_gets_durable_messages_again(places):
    primary, replica = await places(), await places()
    replica.redis.replicaof("127.0.0.1", primary.server.port)
    await until(lambda: replica.redis.info("replication")["master_link_status"] == "up", 20)
    async with (
        open_proxy(primary.server.port) as between,
        attentive(primary.settings(port=between.port), forward_every_s=0.2) as fleet,
    ):
        bot = await fleet.start()
        held = await fleet.client.send("ada", "wait")
        await bot.reader.handling.wait()
        await until(lambda: replica.redis.exists(PROC))
        replica.redis.replicaof("127.0.0.1", redis_server.free_port())  # from now on it lags
        bot.reader.go_on.set()
        durable = await fleet.client.send("bea", "do not forget", durable=True)
        assert durable.where == "redis"
        await until(lambda: not primary.redis.exists(PROC))
        primary.server.kill()
        await fleet.until_on("file")
        replica.redis.replicaof("NO", "ONE")
        assert replica.redis.exists(PROC)  # it does not know better
        between.lead_to(replica.server.port)
        await fleet.until_on("redis")
        assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
        await until_seen(bot, "wait", "after")
        assert (await fleet.client.receipt(held)).state == "handled"
        other = await fleet.start(bot_id="bea", room_url="")
        (message,) = await until_seen(other, "do not forget")
        assert message.id == durable.id
