"""Heartbeats on Redis: the hash that older programs read, the fleet's index, and how bots end."""

import json
import time
from datetime import UTC, datetime

import pytest

from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.liveness import age_s, status
from botvisor.store import ListHeartbeats, ReadHeartbeat, Sweep, WriteHeartbeat
from botvisor.wire import ALIVE_TTL_S, EPITAPH_TTL_S, HEARTBEAT_TTL_S

from . import redis_world
from .redis_world import ROOM

redis = redis_world.redis
anyio_backend = redis_world.one_loop
round_trips = redis_world.round_trips

KEY, EPITAPH = "heartbeat:4711", "bots:epitaph:4711"
LAST_WORDS = {"reason": "SIGTERM", "exit": "0", "ledger": [{"actor": "inbox"}]}


def heartbeat(bot_id="4711", **fields):
    given = {"participants": ("ann", "bob"), "timestamp": "2026-01-01T00:00:00Z", "bot_id": bot_id}
    own = {"status": "healthy", "instance": "i", "host": "h", "room_url": ROOM}
    return Heartbeat(pid=4711, **{**given, **own, **fields})


async def beat(redis, bot_id="4711", **fields):
    await redis.ask(WriteHeartbeat(bot_id, to_hash(heartbeat(bot_id, **fields))))


async def die(redis, bot_id="4711"):
    """Let what a bot wrote expire, as if nobody wrote it any more."""
    redis.client.delete(f"heartbeat:{bot_id}")
    redis.client.zadd("bots:alive", {bot_id: (redis.client.time()[0] - 60) * 1000})


async def test_a_heartbeat_is_where_older_programs_read_it(redis):
    await beat(redis)
    stored = redis.client.hgetall(KEY)
    assert {name: stored[name] for name in (b"pid", b"room_url", b"participants", b"timestamp")} == {
        b"pid": b"4711",
        b"room_url": ROOM.encode(),
        b"participants": b'["ann","bob"]',
        b"timestamp": b"2026-01-01T00:00:00Z",
    }
    assert redis.client.ttl(KEY) == pytest.approx(HEARTBEAT_TTL_S, abs=2)
    score = redis.client.zscore("bots:alive", "4711")
    assert score / 1000 == pytest.approx(redis.client.time()[0] + HEARTBEAT_TTL_S, abs=2)
    assert redis.client.ttl("bots:alive") == pytest.approx(ALIVE_TTL_S, abs=2)


async def test_a_heartbeat_of_an_older_program_is_read(redis):
    fields = {"pid": 99, "room_url": ROOM, "participants": '["ann"]', "timestamp": "2026-01-01T00:00:00"}
    redis.client.hset("heartbeat:99", mapping=fields)
    found = await redis.ask(ReadHeartbeat("99"))
    assert (found.bot_id, found.pid, found.participants) == ("99", 99, ("ann",))


async def test_a_bot_that_stopped_leaves_its_last_words_when_its_heartbeat_is_over(redis):
    await beat(redis, status="stopped", epitaph=LAST_WORDS, seq=7)
    record = json.loads(redis.client.get(EPITAPH))
    assert record.items() >= {"reason": "SIGTERM", "exit": "0", "instance": "i", "host": "h"}.items()
    assert redis.client.ttl(EPITAPH) == pytest.approx(EPITAPH_TTL_S, abs=2)
    last = heartbeat(status="stopped", epitaph=LAST_WORDS, seq=7)
    assert await redis.run(ReadHeartbeat("4711"), ListHeartbeats()) == [last, [last]]
    redis.client.delete(KEY)
    assert await redis.run(ReadHeartbeat("4711"), ListHeartbeats()) == [last, [last]]


async def test_a_bot_that_was_killed_shows_up_as_lost(redis):
    await beat(redis)
    await die(redis)
    (found,) = await redis.ask(ListHeartbeats())
    assert (found.bot_id, found.pid, status(found, 30)) == ("4711", 4711, "lost")
    assert status(found, 3600) == "lost"
    assert await redis.ask(ReadHeartbeat("4711")) is not None


async def test_the_last_words_of_an_earlier_run_are_not_those_of_the_next(redis):
    await beat(redis, status="stopped", epitaph=LAST_WORDS)
    await beat(redis)
    assert (await redis.ask(ReadHeartbeat("4711"))).epitaph is None
    redis.client.delete(KEY)
    # Killed: its index entry is younger than the epitaph.
    redis.client.zincrby("bots:alive", -HEARTBEAT_TTL_S * 1000 + 1000, "4711")
    (found,) = await redis.ask(ListHeartbeats())
    assert (status(found, 30), found.epitaph) == ("lost", None)


async def test_a_fleet_costs_two_round_trips(redis, round_trips):
    await redis.run(*(WriteHeartbeat(str(number), to_hash(heartbeat(str(number)))) for number in range(400)))
    for number in range(100):
        await die(redis, str(number))
    del round_trips[:]
    found = await redis.ask(ListHeartbeats())
    assert len(found) == 400
    assert len(round_trips) == 2


async def test_a_heartbeat_that_cannot_be_read_is_warned_of_once_and_hides_no_other(redis):
    await beat(redis, "1")
    await beat(redis, "2")
    redis.client.hset("heartbeat:2", "participants", "ann, bob")
    for _ in range(2):
        assert [found.bot_id for found in await redis.ask(ListHeartbeats())] == ["1"]
    assert await redis.ask(ReadHeartbeat("2")) is None
    assert len(redis.notices) == 1
    await beat(redis, "2")
    assert len(await redis.ask(ListHeartbeats())) == 2


async def test_an_epitaph_that_cannot_be_read_is_warned_of(redis):
    await beat(redis, status="stopped")
    redis.client.delete(KEY)
    redis.client.set(EPITAPH, b"\xff{", ex=100)
    assert await redis.ask(ListHeartbeats()) == []
    assert len(redis.notices) == 1


async def test_sweeping_forgets_who_ended_a_day_ago(redis):
    await beat(redis)
    now_ms = redis.client.time()[0] * 1000
    redis.client.zadd("bots:alive", {"old": now_ms - 90_000_000, "recent": now_ms - 80_000_000})
    assert await redis.ask(Sweep()) == 1
    assert redis.client.zrange("bots:alive", 0, -1) == [b"recent", b"4711"]


async def test_a_field_of_a_newer_version_survives_a_heartbeat(redis):
    redis.client.hset(KEY, "colour", "blue")
    await beat(redis, room_url="https://example.test/another")
    assert redis.client.hget(KEY, "colour") == b"blue"
    assert (await redis.ask(ReadHeartbeat("4711"))).room_url == "https://example.test/another"


@pytest.mark.parametrize("ahead_s", [-86_400, -60, 86_400])
async def test_a_bot_whose_clock_differs_is_as_fresh_as_the_server_saw_it(redis, ahead_s):
    written = datetime.fromtimestamp(time.time() + ahead_s, UTC).isoformat()
    await beat(redis, timestamp=written, boot_id="elsewhere")
    for found in (await redis.ask(ReadHeartbeat("4711")), *await redis.ask(ListHeartbeats())):
        assert age_s(found) < 10
        assert status(found, 30) == "healthy"
    redis.client.zadd("bots:alive", {"4711": (redis.client.time()[0] + 9) * 1000})  # 21 seconds later
    (found,) = await redis.ask(ListHeartbeats())
    assert age_s(found) == pytest.approx(21, abs=3)
    assert redis.client.hget(KEY, "timestamp") == written.encode()
