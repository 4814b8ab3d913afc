"""Queues on Redis: what is on the wire, what the scripts decide, and what hostile messages do."""

import time

import msgspec
import pytest

from botvisor.errors import LeaseLost
from botvisor.message_forms import read_id
from botvisor.process import boot_id, own, pid_namespace
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Done,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReleaseLease,
    ReturnMessage,
    TakeControl,
)
from botvisor.wire import (
    ADMIN_TTL_S,
    CONTROL_TTL_S,
    DEAD_TTL_S,
    DONE_TTL_S,
    LEASE_TTL_S,
    PROC_TTL_S,
)

from . import redis_world
from .redis_world import ONE, QUEUE, ROOM, TWO, Q

redis = redis_world.redis
anyio_backend = redis_world.one_loop

PROC, DONE = "admin:proc:{admin:queue:4711}", "admin:done:{admin:queue:4711}"
DEAD, OWNER = "admin:dead:{admin:queue:4711}", "admin:owner:{admin:queue:4711}"


def message(message_id, **fields):
    return msgspec.json.encode({"id": message_id, "message": "hello", **fields})


def letters(redis):
    found = (raw.partition(b"\n") for raw in redis.client.lrange(DEAD, 0, -1))
    return [(msgspec.json.decode(line), raw) for line, _, raw in found]


# What is on the wire


@pytest.mark.parametrize(
    ("queue", "key"),
    [
        (QUEUE, "4711"),
        (Queue("room", ROOM), ROOM),
        (Queue("room", "HTTPS://Example.test/room/"), "HTTPS://Example.test/room/"),
        (Queue("pre-spawn", ROOM), f"pre-spawn:{ROOM}"),
    ],
    ids=["bot", "room", "raw room", "pre-spawn"],
)
async def test_a_message_is_where_older_bots_look_before_their_bell_rings(redis, queue, key):
    with redis.client.pubsub() as bell:
        bell.subscribe(f"admin:bot:{key}")
        assert bell.get_message(timeout=5)["type"] == "subscribe"
        assert await redis.push(b'{"message":"hi"}', queue=queue) == "redis"
        assert bell.get_message(timeout=5)["data"] == b'{"message":"hi"}'
    assert redis.client.lrange(f"admin:queue:{key}", 0, -1) == [b'{"message":"hi"}']
    assert ADMIN_TTL_S - 5 < redis.client.ttl(f"admin:queue:{key}") <= ADMIN_TTL_S


async def test_the_keys_of_a_queue_are_named_and_live_as_documented(redis):
    await redis.push(message("m1"))
    await redis.push(message("m2"))
    await redis.push(message("m3"))
    await redis.lease()
    first = await redis.take()
    second = await redis.take(Done(first.token, "m1"))
    await redis.ask(BuryMessage(QUEUE, "one", second.token, "no"))
    third = await redis.take()
    lives = {key.decode(): redis.client.ttl(key) for key in redis.client.scan_iter()}
    assert lives == {
        OWNER: pytest.approx(LEASE_TTL_S, abs=5),
        PROC: pytest.approx(PROC_TTL_S, abs=5),
        DONE: pytest.approx(DONE_TTL_S, abs=5),
        DEAD: pytest.approx(DEAD_TTL_S, abs=5),
    }
    assert redis.client.hgetall(PROC) == {
        b"token": third.token.encode(),
        b"raw": message("m3"),
        b"tries": b"1",
        b"attempt": b"first",
    }
    assert {b"instance", b"bot_id", b"host", b"boot_id", b"pid_ns", b"pid", b"start_ticks"} <= set(
        redis.client.hgetall(OWNER)
    )
    ((member, score),) = redis.client.zrange(DONE, 0, -1, withscores=True)
    seconds, _ = redis.client.time()
    assert (member, score / 1000) == (b"m1", pytest.approx(seconds, abs=5))


async def test_control_is_a_list_of_its_own_and_rings_no_bell_of_older_bots(redis):
    with redis.client.pubsub() as bell:
        bell.psubscribe("*")
        bell.get_message(timeout=5)
        await redis.ask(PushControl("4711", "c1", b'{"id":"c1"}'))
        assert bell.get_message(timeout=0.1) is None
    key = "admin:ctl:{admin:queue:4711}"
    assert redis.client.lrange(key, 0, -1) == [b'{"id":"c1"}']
    assert CONTROL_TTL_S - 5 < redis.client.ttl(key) <= CONTROL_TTL_S
    assert await redis.ask(TakeControl("4711")) == [b'{"id":"c1"}']
    assert not redis.client.exists(key)


async def test_a_control_object_that_was_sent_twice_is_taken_once(redis):
    for raw in (b'{"id":"c1"}', b'{"id":"c2"}', b'{"id":"c1"}'):
        await redis.ask(PushControl("4711", "c", raw))
    assert await redis.ask(TakeControl("4711")) == [b'{"id":"c1"}', b'{"id":"c2"}']
    assert await redis.ask(TakeControl("4711")) == []


# Claims


async def test_old_receipts_are_trimmed_by_the_servers_time(redis):
    seconds, _ = redis.client.time()
    redis.client.zadd(DONE, {"old": (seconds - DONE_TTL_S - 5) * 1000, "young": (seconds - 5) * 1000})
    await redis.push(message("m"))
    await redis.lease()
    await redis.take(Done((await redis.take()).token, "m"))
    assert redis.client.zrange(DONE, 0, -1) == [b"young", b"m"]


@pytest.mark.parametrize(
    "raw_id",
    [
        '"plain"',
        '"with \\"quotes\\" and \\u00e9"',
        '"é"',
        "12345678901234567890",
        "1.5",
        '"' + "x" * 300 + '"',
        '"1e3"',
    ],
    ids=["plain", "escaped", "utf-8", "large number", "float", "long", "looks like a number"],
)
async def test_a_repeat_is_known_whatever_its_id(redis, raw_id):
    raw = b'{"id": %s, "message": "hello"}' % raw_id.encode()
    message_id = read_id(msgspec.json.decode(raw)["id"])
    await redis.lease()
    for number in range(2):
        await redis.push(raw)
        claim = await redis.take()
        assert claim.done == bool(number)
        assert await redis.take(Done(claim.token, message_id)) is None


@pytest.mark.parametrize("raw_id", ["null", "true", '""', "[1]", '{"a":1}'])
async def test_what_is_no_id_makes_no_repeat(redis, raw_id):
    await redis.lease()
    names = set()
    for _ in range(2):
        await redis.push(b'{"id": %s, "message": "hello"}' % raw_id.encode())
        claim = await redis.take()
        assert not claim.done
        names.add(claim.name)
        assert await redis.take(Done(claim.token, claim.name)) is None
    assert len(names) == 2


async def test_messages_of_two_queues_that_have_no_id_have_different_names(redis):
    queues = [Queue("bot", str(number)) for number in range(30)]
    await redis.run(*(PushMessage(queue, "m", b'{"message":"twin"}') for queue in queues))
    await redis.run(*(AcquireLease(queue, ONE) for queue in queues))
    claims = await redis.run(*(NextMessage(queue, "one", "a") for queue in queues))
    assert len({claim.name for claim in claims}) == 30


@pytest.mark.parametrize(
    ("stamp", "age_s"),
    [('"2026-01-01T00:00:00+00:00"', None), ("1700000000", None), ('"2999-01-01T00:00:00Z"', 0), ('"x"', 0)],
    ids=["text", "number", "future", "nonsense"],
)
async def test_a_claim_tells_when_its_message_was_sent_as_far_as_it_can_be_believed(redis, stamp, age_s):
    await redis.push(b'{"id":"m","message":"hi","timestamp":%s}' % stamp.encode())
    await redis.lease()
    claim = await redis.take()
    if age_s is None:
        assert claim.stored_at in (1767225600.0, 1700000000.0)
    else:
        assert claim.stored_at == pytest.approx(time.time(), abs=5)


async def test_a_message_in_flight_outlives_a_handler_that_takes_hours(redis):
    await redis.push(message("m"))
    await redis.lease()
    await redis.take()
    redis.client.expire(PROC, 100)
    await redis.lease()
    assert redis.client.ttl(PROC) > PROC_TTL_S - 5


async def test_waiting_messages_that_nobody_gave_a_lifetime_get_one(redis):
    redis.client.rpush(Q, message("m1"), message("m2"))
    await redis.lease()
    await redis.take()
    assert redis.client.ttl(Q) > ADMIN_TTL_S - 5
    assert redis.without_lifetime() == []


# Leases


async def test_the_lease_of_a_process_of_this_machine_that_has_ended_is_free_at_once(redis):
    dead = msgspec.structs.replace(own("4711", "dead"), pid=2**22 + 1)
    assert (dead.boot_id, dead.pid_ns) == (boot_id(), pid_namespace())
    assert await redis.lease(dead) is None
    assert await redis.lease(ONE) is None
    assert await redis.lease(TWO) == ONE


async def test_the_lease_of_a_process_elsewhere_holds_until_it_runs_out(redis):
    elsewhere = msgspec.structs.replace(own("4711", "far"), pid=2**22 + 1, boot_id="another")
    assert await redis.lease(elsewhere) is None
    assert await redis.lease(ONE) == elsewhere
    redis.die()
    assert await redis.lease(ONE) is None


async def test_a_lease_record_of_another_version_still_names_its_owner(redis):
    redis.client.hset(OWNER, mapping={"instance": "new", "pid": "many", "colour": b"\xff"})
    redis.client.expire(OWNER, 30)
    assert (await redis.lease(ONE)).instance == "new"


async def test_a_message_that_no_lease_covers_is_not_touched(redis):
    await redis.push(message("m"))
    for command in (
        NextMessage(QUEUE, "one", "a"),
        ReturnMessage(QUEUE, "one", "t"),
        BuryMessage(QUEUE, "one", "t", ""),
    ):
        with pytest.raises(LeaseLost):
            await redis.ask(command)
    await redis.ask(ReleaseLease(QUEUE, "one"))
    assert redis.client.lrange(Q, 0, -1) == [message("m")]
