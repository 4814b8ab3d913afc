"""A main that blocks the event loop in three ways: Redis tells where, before the heartbeat expires."""

import json
import time

import pytest

from .. import redis_bots, redis_server
from ..bot_rig import until
from ..processes import Program
from ..redis_bots import process
from ..test_cli_why import BLOCKS, BOT

servers = redis_server.servers
place = redis_bots.place
HOLDS_THE_LOCK = BLOCKS[2]  # then no thread of the bot's runs: its dump tells, to clients on its host


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def start(place):
    bots = []

    def start(bot_id):
        variables = place.variables(BOT_ID=bot_id, BOT_BLOCKED_AFTER_SECS="0.5")
        bots.append(Program(BOT, place.folder, **variables))
        return bots[-1]

    yield start
    for bot in bots:
        bot.close()


async def test_a_blocked_loop_is_told_on_redis_while_the_heartbeat_lives(place, start):
    bots = {block: start(block) for block in BLOCKS}
    async with process(place.settings()) as fleet:
        for block, bot in bots.items():
            bot.says("running")
            await fleet.client.send(block, block)
        began = time.monotonic()
        found = {}

        async def all_blocked():
            for beat in await fleet.client.heartbeats():
                if beat.status == "blocked":
                    found[beat.bot_id] = beat.health["blocked"]
            return set(found) == set(BLOCKS)

        while not await all_blocked():
            assert time.monotonic() - began < 15, found
        for block, bot in bots.items():
            assert (found[block]["file"], found[block]["function"]) == (bot.path, block)
            assert found[block]["line"] > 0
            assert place.redis.ttl(f"heartbeat:{block}") > 10
        for block in set(BLOCKS) - {HOLDS_THE_LOCK}:  # every client can read it, on any host
            await until(lambda block=block: place.redis.hget(f"heartbeat:{block}", "status") == b"blocked", 5)
            health = json.loads(place.redis.hget(f"heartbeat:{block}", "health"))
            assert health["blocked"]["function"] == block
