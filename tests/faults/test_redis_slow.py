"""Redis is slow or stops for a while, or a connection dies silently: deadlines hold, nothing is repeated."""

import anyio
import pytest

from botvisor.actors.backend import circuit, failover
from botvisor.testing import open_proxy

from .. import redis_bots, redis_server
from ..bot_rig import logged, until
from ..redis_bots import LOST, process, takes_at_most, until_seen

servers = redis_server.servers
place = redis_bots.place

FIRST_S = 3.0  # until it is known that Redis hangs
CEILING_S = 5.0  # of a call: it may have to wait until the batch before it gives up
HANGS = {
    "DEBUG SLEEP": ("DEBUG", "SLEEP", "2.5"),
    "CLIENT PAUSE WRITE": ("CLIENT", "PAUSE", "2500", "WRITE"),
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def between(place):
    """A proxy before the server."""
    async with open_proxy(place.server.port) as proxy:
        yield proxy


def left(lines):
    return [line for line in lines if LOST in line]


def bells(place):
    """The connections that listen for bells, by their ids."""
    return {each["id"] for each in place.redis.client_list() if each["name"] == "botvisor-bell"}


@pytest.mark.parametrize("how", HANGS)
async def test_a_redis_that_carries_nothing_out_is_left_and_taken_back(place, how):
    with logged() as lines:
        async with process(place.settings()) as fleet, anyio.create_task_group() as group:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            group.start_soon(anyio.to_thread.run_sync, lambda: place.redis.execute_command(*HANGS[how]))
            await anyio.sleep(0.1)  # until it has begun
            async with takes_at_most(FIRST_S):
                receipt = await fleet.client.send("ada", "meanwhile", wait=5)
            assert (receipt.state, receipt.where.partition("@")[0]) == ("handled", "spool")
            await fleet.until_on("redis")
            assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
            seen = await until_seen(bot, "before", "meanwhile", "after")
            assert not any(message.redelivered for message in seen)
            await until(lambda: place.redis.llen("admin:queue:ada") == 0)
    assert len(left(lines)) == 1


async def test_a_delay_of_nearly_a_second_is_waited_for(place, between):
    with logged() as lines:
        async with process(place.settings(port=between.port)) as fleet:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            between.delay(0.9)
            async with takes_at_most(FIRST_S):
                await fleet.client.send("ada", "meanwhile")
            await until(lambda: bot.reader.texts == ["before", "meanwhile"], 20)
            between.pass_on()
            await fleet.client.send("ada", "after", wait=5)
            seen = await until_seen(bot, "before", "meanwhile", "after")
            assert not any(message.redelivered for message in seen)
    assert left(lines) == []


async def test_a_byte_in_fifty_milliseconds_costs_a_call_its_deadline_and_redis_is_kept(place, between):
    with logged() as lines:
        async with process(place.settings(port=between.port)) as fleet:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            between.trickle(0.05)
            async with takes_at_most(CEILING_S), anyio.create_task_group() as group:
                group.start_soon(fleet.client.send, "ada", "meanwhile")
                group.start_soon(bot.bot.identities.write, "ann", {"name": "Ann"})
            assert fleet.mode == "redis"
            between.pass_on()
            await fleet.client.send("ada", "after", wait=5)
            await until(lambda: len(bot.reader.texts) >= 3, 20)
            assert sorted(bot.reader.texts) == ["after", "before", "meanwhile"]
            assert not any(message.redelivered for message in bot.reader.seen)
    assert left(lines) == []


async def test_connections_that_a_router_forgot_are_left_within_three_seconds(place, between):
    with logged() as lines:
        async with process(place.settings(port=between.port)) as fleet:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            old = bells(place)
            between.strand()
            async with takes_at_most(FIRST_S + 1), anyio.create_task_group() as group:
                group.start_soon(until, lambda: bells(place) and not bells(place) & old)
                await fleet.client.send("ada", "meanwhile", wait=5)
            await fleet.until_on("redis")
            async with takes_at_most(FIRST_S):
                assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
            await until_seen(bot, "before", "meanwhile", "after")
    assert len(left(lines)) <= 1


async def test_an_idle_connection_that_died_is_found_before_anybody_needs_it(place, between, monkeypatch):
    monkeypatch.setattr(circuit, "IDLE_S", 0.5)
    monkeypatch.setattr(failover, "FORWARD_EVERY_S", 0.1)
    async with process(place.settings(port=between.port)) as fleet:  # nobody's heartbeats go over it
        await fleet.client.heartbeats()
        between.strand()
        async with takes_at_most(FIRST_S):
            await fleet.until_on("file")
