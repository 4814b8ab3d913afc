"""Many bots of one process on Redis: two connections for all of them, and few round trips."""

import anyio
import pytest

from botvisor.wire import heartbeat_key

from . import redis_bots, redis_server, redis_world
from .bot_rig import until
from .redis_bots import ROOM, process, takes_at_most

servers = redis_server.servers
place = redis_bots.place
anyio_backend = redis_world.one_loop
round_trips = redis_world.round_trips

BOTS = 100


def beats(commands):
    """The bots whose heartbeats these commands write."""
    prefix = heartbeat_key("").encode()
    return [each[1] for each in commands if each[0] == b"HSET" and each[1].startswith(prefix)]


@pytest.fixture
async def fleet(place):
    """A hundred bots, each in a room of its own."""
    async with process(place.settings(heartbeat_interval_s=2)) as fleet:
        async with takes_at_most(10):
            fleet.bots = [await fleet.start(bot_id=f"b{n}", room_url=f"{ROOM}{n}") for n in range(BOTS)]
        yield fleet


async def test_a_fleet_shares_two_connections_and_its_heartbeats_few_round_trips(place, fleet, round_trips):
    ours = [each["name"] for each in place.redis.client_list() if each["name"].startswith("botvisor")]
    assert sorted(ours) == ["botvisor", "botvisor-bell"]
    round_trips.clear()
    await until(lambda: sum(len(beats(batch)) for batch in round_trips) >= 2 * BOTS)
    with_beats = [names for batch in round_trips if (names := beats(batch))]
    assert {name for names in with_beats for name in names} == {
        f"heartbeat:b{n}".encode() for n in range(BOTS)
    }
    assert len(with_beats) <= sum(map(len, with_beats)) / 20
    # Each second's look, and what keeps the leases: nothing grows with the number of bots.
    assert len(round_trips) <= 120
    assert {beat.status for beat in await fleet.client.heartbeats()} == {"healthy"}


async def test_each_bot_of_a_fleet_gets_its_own_messages_at_once(fleet):
    async with takes_at_most(10), anyio.create_task_group() as group:
        for number, bot in enumerate(fleet.bots):
            target = bot.id if number % 2 else f"{ROOM}{number}"
            group.start_soon(send, fleet.client, target, f"to {bot.id}")
    assert [bot.reader.texts for bot in fleet.bots] == [[f"to {bot.id}"] for bot in fleet.bots]


async def send(client, target, text):
    assert (await client.send(target, text, wait=10)).state == "handled"
