"""Connections to Redis are cut, replies get lost, and claims land late: each message is shown once."""

import anyio
import pytest

from botvisor.testing import open_proxy

from .. import redis_bots, redis_server, two_loops
from ..bot_rig import logged, until
from ..redis_bots import LOST, process, until_seen
from .traffic import traffic, until_all_arrived, until_more

servers = redis_server.servers
anyio_backend = two_loops.anyio_backend
place = redis_bots.place

QUEUE = "admin:queue:ada"
PROC = f"admin:proc:{{{QUEUE}}}"
NEXT = (
    f"admin:done:{{{QUEUE}}}".encode()
)  # what says "done" and claims names that key, and nothing else a bot does


@pytest.fixture
async def between(place):
    """A proxy before the server."""
    async with open_proxy(place.server.port) as proxy:
        yield proxy


def ring(place, *texts):
    """Put messages without ids in ada's queue, and ring the bell after that."""
    place.redis.rpush(QUEUE, *[f'{{"message":"{text}"}}' for text in texts])
    place.redis.publish("admin:bot:ada", "{}")


def links(place):
    """The connections that carry commands, by their ids."""
    return {each["id"] for each in place.redis.client_list() if each["name"] == "botvisor"}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", ["RST", "CLIENT KILL"])
async def test_connections_that_are_cut_again_and_again_lose_nothing(place, between, how):
    async with process(place.settings(port=between.port)) as fleet:
        bot = await fleet.start()
        async with traffic(fleet) as receipts:
            for _ in range(12):
                await until_more(receipts, 3)
                if how == "RST":
                    between.reset()
                else:
                    place.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until_all_arrived(receipts, bot.reader)
        await until(lambda: not place.redis.exists(PROC, QUEUE), 10)


@pytest.mark.parametrize("nth", [1, 2, 3], ids=["claim", "done and claim", "last done"])
async def test_whichever_reply_to_the_inbox_is_lost_twins_without_ids_are_both_shown_once(
    place, between, nth
):
    with logged() as lines:
        async with process(place.settings(port=between.port)) as fleet:
            bot = await fleet.start()
            lost = between.drop_reply(NEXT, nth=nth)
            ring(place, "twin", "twin")
            with anyio.fail_after(5):
                await lost.wait()
            seen = await until_seen(bot, "twin", "twin")
            await until(lambda: not place.redis.exists(PROC, QUEUE), 10)
            assert not any(message.redelivered for message in seen)
    assert [line for line in lines if LOST in line] == []


async def test_a_claim_whose_reply_was_lost_is_found_in_flight(place, between):
    async with process(place.settings(port=between.port)) as fleet:
        bot = await fleet.start()
        await fleet.client.send("ada", "first", wait=5)  # its claim at the start is over
        lost = between.drop_reply(NEXT)
        ring(place, "wait")
        with anyio.fail_after(5):
            await lost.wait()
        assert place.redis.hmget(PROC, "raw", "tries") == [b'{"message":"wait"}', b"1"]
        await until_seen(bot, "first", "wait")
        assert place.redis.hget(PROC, "tries") == b"1"
        bot.reader.go_on.set()
        await until(lambda: not place.redis.exists(PROC), 10)


async def test_a_send_whose_reply_was_lost_is_shown_once(place, between):
    async with process(place.settings(port=between.port)) as fleet:
        lost = between.drop_reply(b"sent twice")
        receipt = await fleet.client.send("ada", "sent twice")
        assert (lost.is_set(), receipt.where) == (True, "redis")
        assert place.redis.llen(QUEUE) == 2  # the transaction was carried out both times
        bot = await fleet.start()
        await fleet.client.send("ada", "last", wait=5)
        (message, _) = await until_seen(bot, "sent twice", "last")
        assert (message.id, message.redelivered) == (receipt.id, False)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_claim_of_the_old_connection_that_lands_late_claims_nothing(place, between):
    async with process(place.settings(port=between.port)) as fleet:
        bot = await fleet.start()
        ring(place, "wait", "next")
        await bot.reader.handling.wait()
        old = links(place)
        between.strand()
        bot.reader.go_on.set()  # so "done" and a claim set out on the old connection
        await fleet.until_on("file")
        await fleet.until_on("redis")
        await until_seen(bot, "wait", "next")
        assert links(place)
        assert not links(place) & old  # Redis was told to end it
        place.redis.rpush(QUEUE, '{"message":"last"}')  # what a late claim would take
        between.pass_on()
        await until(lambda: between.connections == 2)  # those that were stranded are over
        seen = await until_seen(bot, "wait", "next", "last")
        await until(lambda: not place.redis.exists(PROC, QUEUE), 10)
        assert not any(message.redelivered for message in seen)
