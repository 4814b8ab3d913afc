"""Identities on Redis: the room's index, late writes, and what older programs leave without one."""

import time

import msgspec
import pytest

from botvisor.identities import new_identity
from botvisor.store import CleanUpIdentities, ListIdentities, ReadIdentity, WriteIdentity
from botvisor.wire import IDENTITY_TTL_S

from . import redis_world
from .redis_world import ROOM

redis = redis_world.redis
anyio_backend = redis_world.one_loop
round_trips = redis_world.round_trips

INDEX = f"identity-index:{ROOM}"
HOSTILE = ["*", "?", "[a-z]", "[^a]", "a-b", "back\\slash", "{x}", "a:b", "é", "["]


def identity(participant="ann", room=ROOM, *, age_s=0.0, **data):
    found = new_identity(room, participant, data, "writer")
    return msgspec.structs.replace(found, updated_ms=found.updated_ms - int(age_s * 1000))


async def listed(redis, room=ROOM, store=None):
    return [each.participant_id for each in await redis.ask(ListIdentities(room), store)]


def write_as_older_programs(redis, participant, room=ROOM, ttl=IDENTITY_TTL_S):
    key = f"identity:{room}:{participant}"
    fields = {
        "participant_id": participant,
        "room_url": room,
        "timestamp": "2026-01-01T00:00:00",
        "data": "{}",
    }
    redis.client.hset(key, mapping=fields)
    if ttl:
        redis.client.expire(key, ttl)


def look_again(redis):
    """Return a store of a process that comes after the minute's reconciliation is over."""
    redis.client.delete("identity-index-scan")
    return redis.new_store()


# Writing


async def test_an_identity_is_where_older_programs_read_it(redis):
    with redis.client.pubsub() as bell:
        bell.subscribe(f"identity-changed:{ROOM}")
        bell.get_message(timeout=5)
        await redis.ask(WriteIdentity(identity(name="Ann")))
        assert bell.get_message(timeout=5)["data"] == b"ann"
    stored = redis.client.hgetall(f"identity:{ROOM}:ann")
    assert stored[b"data"] == b'{"name":"Ann"}'
    assert {b"participant_id", b"room_url", b"timestamp", b"updated_ms", b"writer"} <= set(stored)
    assert redis.client.ttl(f"identity:{ROOM}:ann") == pytest.approx(IDENTITY_TTL_S, abs=5)
    ((member, score),) = redis.client.zrange(INDEX, 0, -1, withscores=True)
    assert (member, score / 1000) == (b"ann", pytest.approx(redis.client.time()[0] + IDENTITY_TTL_S, abs=5))


async def test_unknown_fields_survive_a_rewrite(redis):
    redis.client.hset(f"identity:{ROOM}:ann", "colour", "blue")
    await redis.ask(WriteIdentity(identity()))
    assert redis.client.hget(f"identity:{ROOM}:ann", "colour") == b"blue"


async def test_a_write_that_was_held_up_lives_no_longer_than_if_it_had_come_in_time(redis):
    await redis.ask(WriteIdentity(identity(age_s=3600)))
    assert redis.client.ttl(f"identity:{ROOM}:ann") == pytest.approx(IDENTITY_TTL_S - 3600, abs=5)
    ((_, score),) = redis.client.zrange(INDEX, 0, -1, withscores=True)
    assert score / 1000 == pytest.approx(redis.client.time()[0] + IDENTITY_TTL_S - 3600, abs=5)


async def test_a_write_that_was_held_up_does_not_replace_what_another_process_wrote_since(redis):
    await redis.ask(WriteIdentity(identity(v=2, age_s=10)))
    other = redis.new_store()
    for age_s, expected in ((20, 2), (5, 3)):
        await redis.ask(WriteIdentity(identity(v=3, age_s=age_s)), other)
        assert (await redis.ask(ReadIdentity(ROOM, "ann"))).merged()["v"] == expected


async def test_an_index_that_is_only_written_does_not_grow_for_ever(redis):
    redis.client.zadd(INDEX, {f"old{number}": 1 for number in range(100)})
    await redis.run(*(WriteIdentity(identity(f"p{number}")) for number in range(64)))
    assert redis.client.zcard(INDEX) == 64


# Reading


@pytest.mark.parametrize(
    "fields",
    [
        {"participant_id": "ann"},
        {"participant_id": b"\xff", "room_url": ROOM, "timestamp": "", "data": "{}"},
        {"participant_id": "ann", "room_url": ROOM, "timestamp": "", "data": "{}", "updated_ms": "soon"},
    ],
    ids=["fields missing", "no UTF-8", "no number"],
)
async def test_what_cannot_be_read_is_nobody_and_is_warned_of_once(redis, fields):
    await redis.ask(WriteIdentity(identity("bob")))
    redis.client.hset(f"identity:{ROOM}:ann", mapping=fields)
    redis.client.zadd(INDEX, {"ann": 9e12})
    for _ in range(2):
        assert await redis.ask(ReadIdentity(ROOM, "ann")) is None
        assert await listed(redis) == ["bob"]
    assert [level for level, _ in redis.notices] == ["WARNING"]


async def test_data_that_is_no_json_leaves_the_rest_readable(redis):
    write_as_older_programs(redis, "ann")
    redis.client.hset(f"identity:{ROOM}:ann", "data", b"\xff{")
    merged = (await redis.ask(ReadIdentity(ROOM, "ann"))).merged()
    assert merged == {"participant_id": "ann", "room_url": ROOM, "timestamp": "2026-01-01T00:00:00"}


# Listing


async def test_a_room_costs_two_round_trips_whatever_else_there_is(redis, round_trips):
    for number in range(300):
        write_as_older_programs(redis, f"p{number}", f"{ROOM}/other")
    await redis.run(*(WriteIdentity(identity(f"p{number}")) for number in range(50)))
    await listed(redis)
    del round_trips[:]
    assert len(await listed(redis)) == 50
    assert [len(commands) for commands in round_trips] == [1, 50]


async def test_an_entry_whose_value_is_gone_leaves_the_index(redis):
    await redis.run(WriteIdentity(identity("ann")), WriteIdentity(identity("bob")))
    redis.client.delete(f"identity:{ROOM}:ann")
    assert await listed(redis) == ["bob"]
    assert redis.client.zrange(INDEX, 0, -1) == [b"bob"]


async def test_what_older_programs_wrote_is_listed(redis):
    write_as_older_programs(redis, "old")
    write_as_older_programs(redis, "elsewhere", f"{ROOM}2")
    await redis.ask(WriteIdentity(identity("new")))
    assert await listed(redis) == ["new", "old"]
    assert await listed(redis, f"{ROOM}2") == ["elsewhere"]
    assert redis.without_lifetime() == []


async def test_the_fleet_looks_for_strays_once_a_minute(redis, round_trips):
    await listed(redis)
    assert redis.client.ttl("identity-index-scan") == pytest.approx(60, abs=5)
    write_as_older_programs(redis, "old")
    del round_trips[:]
    assert await listed(redis) == []
    assert await listed(redis, store=redis.new_store()) == []
    assert not [each for batch in round_trips for each in batch if each[0] == b"SCAN"]
    assert await listed(redis, store=look_again(redis)) == ["old"]


async def test_a_stray_without_a_lifetime_gets_one(redis):
    write_as_older_programs(redis, "old", ttl=None)
    assert await redis.ask(CleanUpIdentities(ROOM)) == 0
    assert redis.client.ttl(f"identity:{ROOM}:old") == pytest.approx(IDENTITY_TTL_S, abs=5)
    redis.client.set("identity-index-scan", "somebody", ex=60)
    assert await listed(redis) == ["old"]


async def test_a_stray_that_its_writer_renewed_stays_listed(redis):
    write_as_older_programs(redis, "old", ttl=2)
    assert await listed(redis) == ["old"]
    write_as_older_programs(redis, "old")
    redis.client.zadd(INDEX, {"old": (time.time() - 5) * 1000})
    assert await listed(redis, store=look_again(redis)) == ["old"]


async def test_cleaning_up_counts_what_has_gone(redis):
    await redis.run(*(WriteIdentity(identity(name)) for name in ("ann", "bob", "eve")))
    redis.client.delete(f"identity:{ROOM}:ann", f"identity:{ROOM}:bob")
    assert await redis.ask(CleanUpIdentities(ROOM)) == 2
    assert await redis.ask(CleanUpIdentities(ROOM)) == 0
    assert await listed(redis) == ["eve"]


@pytest.mark.parametrize("room", [f"https://example.test/{part}" for part in HOSTILE])
async def test_a_room_whose_name_is_a_pattern_is_its_own_room_only(redis, room):
    others = [f"https://example.test/{part}" for part in (*HOSTILE, "a", "abc", "back", "")]
    for number, other in enumerate(others):
        write_as_older_programs(redis, f"p{number}", other, ttl=None)
    write_as_older_programs(redis, "a:b", "https://example.test/x", ttl=None)
    here = f"p{others.index(room)}"
    await redis.ask(CleanUpIdentities(room))
    lasting = [key for key in redis.without_lifetime() if key.startswith(b"identity:")]
    assert len(lasting) == len(others)
    redis.client.set("identity-index-scan", "somebody", ex=60)
    assert await listed(redis, room) == [here]
    assert [await listed(redis, other) for other in others if other != room] == [[]] * (len(others) - 1)
    assert await listed(redis, room, look_again(redis)) == [here]


async def test_rooms_and_participants_with_colons_are_kept_apart(redis):
    write_as_older_programs(redis, "c", "a:b")
    write_as_older_programs(redis, "y:z", "x")
    assert await listed(redis, "a:b") == ["c"]
    assert await listed(redis, "a") == []
    assert await listed(redis, "x") == ["y:z"]
    assert await listed(redis, "x:y") == []


async def test_a_stray_is_found_among_keys_that_are_no_identities(redis):
    redis.client.set(f"identity:{ROOM}:text", "text", ex=100)
    redis.client.hset(f"identity:{ROOM}:bytes", mapping={"participant_id": b"\xff", "room_url": ROOM})
    redis.client.hset(f"identity:{ROOM}:liar", mapping={"participant_id": "ann", "room_url": ROOM})
    write_as_older_programs(redis, "old")
    redis.client.mset({f"noise:{number}": "x" for number in range(12_000)})
    assert await listed(redis) == ["old"]
    assert redis.client.zrange(INDEX, 0, -1) == [b"old"]
