"""Commands that need no plan while nothing goes wrong: what they leave, and what they do else."""

import pytest

from botvisor.identities import new_identity
from botvisor.store import PushMessage, ReadHeartbeat, ReadIdentity, WriteHeartbeat, WriteIdentity
from botvisor.wire import IDENTITY_INDEX_TTL_S

from . import redis_world
from .redis_world import QUEUE, ROOM, Q

redis = redis_world.redis


def beat(bot_id, **fields):
    own = {
        "pid": b"1",
        "room_url": b"",
        "participants": b"[]",
        "timestamp": b"now",
        "bot_id": bot_id.encode(errors="replace"),
    }
    return WriteHeartbeat(bot_id, own | fields)


def write(participant_id, name):
    return WriteIdentity(new_identity(ROOM, participant_id, {"name": name}, "writer"))


def push(message_id):
    return PushMessage(QUEUE, message_id, b'{"message": "%b"}' % message_id.encode())


ALL = [beat("one"), write("ann", "Ann"), ReadIdentity(ROOM, "ann"), push("a")]


async def test_what_is_in_the_way_of_some_costs_the_others_nothing(redis):
    await redis.run(*ALL)  # the next heartbeats need no plan
    for key in ("heartbeat:one", f"identity:{ROOM}:ann", Q):
        redis.client.delete(key)
        redis.client.set(key, "somebody's")
    redis.client.set(f"identity:{ROOM}:bad", "somebody's")
    answers = await redis.run(
        *(beat("one"), beat("two"), write("ann", "Ann"), write("bob", "Bob")),
        *(ReadIdentity(ROOM, "bad"), ReadIdentity(ROOM, "bob"), push("b"), push("c")),
    )
    assert answers[:5] == [None] * 5
    assert answers[5].merged()["name"] == "Bob"
    assert answers[6:] == ["redis", "redis"]
    assert redis.client.hget("heartbeat:one", "timestamp") == b"now"
    assert redis.client.hget(f"identity:{ROOM}:ann", "data") == b'{"name":"Ann"}'
    assert sorted(redis.client.lrange(Q, 0, -1)) == [push("b").raw, push("c").raw]
    assert redis.without_lifetime() == [f"identity:{ROOM}:bad".encode()]


async def test_the_last_of_two_writes_wins_also_where_both_were_in_trouble(redis):
    old, new = write("ann", "Ann"), write("ann", "Anna")
    redis.client.set(f"identity:{ROOM}:ann", "somebody's")
    assert await redis.run(old, new, write("bob", "Bob")) == [None] * 3
    assert (await redis.ask(ReadIdentity(ROOM, "ann"))).merged()["name"] == "Anna"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (beat("\ud800"), UnicodeEncodeError),
        (beat("one", room_url=None), TypeError),
        (ReadIdentity(ROOM, "\ud800"), UnicodeEncodeError),
        (PushMessage(QUEUE, "m", b"x" * 2**21), Exception),
    ],
    ids=["bot", "field", "participant", "size"],
)
async def test_what_cannot_be_sent_fails_alone(redis, command, error):
    await redis.run(*ALL)
    answers = await redis.run(command, *ALL)
    assert isinstance(answers[0], error)
    assert [type(answer) for answer in answers[1:]] == [type(answer) for answer in await redis.run(*ALL)]


async def test_each_heartbeat_renews_both_lifetimes(redis):
    for _ in range(2):
        redis.client.persist("bots:alive")
        redis.client.persist("heartbeat:one")
        await redis.ask(beat("one"))
        assert redis.without_lifetime() == []
    redis.client.hset("heartbeat:one", "epitaph", "{}")
    await redis.ask(beat("one"))
    assert redis.client.hget("heartbeat:one", "epitaph") == b"null"


async def test_what_many_writes_share_gets_its_lifetime_once_for_all_of_them(redis):
    bots, people = [f"b{number}" for number in range(5)], [f"p{number}" for number in range(5)]
    await redis.run(*map(beat, bots))  # each bot's first one is kept for longer
    redis.client.delete("bots:alive")
    redis.client.config_resetstat()
    await redis.run(*map(beat, bots), *(write(person, "X") for person in people))
    assert redis.client.info("commandstats")["cmdstat_expire"]["calls"] == len(bots) + len(people) + 2
    assert redis.without_lifetime() == []


async def test_a_bot_that_stops_leaves_its_last_words_though_it_beat_quickly_before(redis):
    for _ in range(3):
        await redis.ask(beat("one", status=b"healthy"))
    await redis.ask(beat("one", status=b"stopped"))
    redis.client.delete("heartbeat:one")
    assert (await redis.ask(ReadHeartbeat("one"))).status == "stopped"


async def test_a_room_forgets_who_has_expired_after_many_writes(redis):
    index = f"identity-index:{ROOM}"
    await redis.ask(write("ann", "Ann"))
    redis.client.zadd(index, {"gone": 1})
    await redis.run(*(write("ann", "Ann") for _ in range(64)))
    assert redis.client.zrange(index, 0, -1) == [b"ann"]
    assert 0 < redis.client.ttl(index) <= IDENTITY_INDEX_TTL_S


async def test_a_durable_message_leaves_its_mark_between_others_that_need_none(redis):
    durable = PushMessage(QUEUE, "d", b"{}", durable=True)
    assert await redis.run(push("a"), durable, push("b")) == ["redis"] * 3
    assert redis.client.lrange(Q, 0, -1) == [push("a").raw, b"{}", push("b").raw]
    assert len(redis.client.keys("admin:kept:*")) == 1
