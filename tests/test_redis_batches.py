"""A batch on Redis: one round trip, whole writes, and each command's failure its own."""

import msgspec
import pytest

from botvisor.actors.backend.redis_errors import Kind, RedisUnavailable
from botvisor.errors import LeaseLost, StoreError, StoreUnavailable
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identities import new_identity
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    CleanUpIdentities,
    Done,
    ListHeartbeats,
    ListIdentities,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    ReturnMessage,
    Sweep,
    WriteHeartbeat,
    WriteIdentity,
)

from . import redis_world
from .redis_world import ONE, QUEUE, ROOM, Q

redis = redis_world.redis
anyio_backend = redis_world.one_loop
round_trips = redis_world.round_trips


def beat(bot_id="4711", status="healthy"):
    heartbeat = Heartbeat(
        pid=1,
        room_url=ROOM,
        participants=(),
        timestamp="2026-01-01T00:00:00+00:00",
        bot_id=bot_id,
        status=status,
    )
    return WriteHeartbeat(bot_id, to_hash(heartbeat))


def write(participant="ann", room=ROOM):
    return WriteIdentity(new_identity(room, participant, {"name": participant}, "writer"))


def push(message_id="m", queue=QUEUE):
    return PushMessage(queue, message_id, msgspec.json.encode({"id": message_id, "message": "hi"}))


def mixed():
    return (
        beat(), write(), push(), AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a"), Sweep(),
        ReadReceipt(QUEUE, "m"), ReadHeartbeat("4711"), ReadIdentity(ROOM, "ann"),
        PushControl("4711", "c", b""),
    )  # fmt: skip


async def test_a_batch_is_one_round_trip_and_one_transaction(redis, round_trips):
    await redis.store.ping()
    for _ in range(2):
        del round_trips[:]
        assert not [each for each in await redis.run(*mixed()) if isinstance(each, Exception)]
        ((first, *_, last),) = round_trips
        assert (first, last) == ((b"MULTI",), (b"EXEC",))


async def test_what_only_reads_needs_no_transaction(redis, round_trips):
    await redis.store.ping()
    del round_trips[:]
    await redis.run(ReadHeartbeat("4711"), ReadIdentity(ROOM, "ann"))
    ((*commands,),) = round_trips
    assert (b"MULTI",) not in commands


async def test_no_key_lives_for_ever(redis):
    commands = []
    for number in range(100):
        queue = Queue("room", f"{ROOM}{number % 7}")
        commands += [
            beat(str(number), "stopped" if number % 3 else "healthy"), PushControl(str(number), "c", b"{}"),
            write(f"p{number}", f"{ROOM}{number % 5}"), push(f"m{number}", queue), AcquireLease(queue, ONE),
        ]  # fmt: skip
    await redis.run(*commands)
    for number in range(60):
        queue = Queue("room", f"{ROOM}{number % 7}")
        claim = await redis.take(queue=queue)
        command = [
            NextMessage(queue, "one", "first", claim and Done(claim.token, "m"), take=False),
            ReturnMessage(queue, "one", claim.token if claim else ""),
            BuryMessage(queue, "one", claim.token if claim else "", "no"),
        ][number % 3]
        await redis.run(command, ListIdentities(f"{ROOM}1"), CleanUpIdentities(f"{ROOM}2"), ListHeartbeats())
    assert redis.client.dbsize() > 200
    assert redis.without_lifetime() == []


async def test_scripts_that_were_flushed_are_sent_again(redis, round_trips):
    await redis.push(b'{"id":"m","message":"hi"}')
    await redis.lease()
    redis.client.script_flush()
    del round_trips[:]
    lease, claim = await redis.run(AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a"))
    assert (lease, claim.raw) == (None, b'{"id":"m","message":"hi"}')
    assert len(round_trips) == 2
    assert (await redis.take(attempt="a")).token == claim.token
    assert len(round_trips) == 3


# A bad value


@pytest.mark.parametrize(
    "bad",
    [
        PushMessage(QUEUE, "x", None),
        WriteHeartbeat("x", {"pid": 1.5j}),
        ReadIdentity("\ud800", "x"),
        ReadHeartbeat(7),
    ],
    ids=["no bytes", "no bytes in a field", "surrogate", "no text"],
)
async def test_a_value_that_cannot_be_sent_fails_its_own_command(redis, bad):
    first, second, third = await redis.run(push(), bad, beat())
    assert (first, third) == ("redis", None)
    assert isinstance(second, Exception)
    assert redis.client.llen(Q) == 1


# Keys of the wrong type


async def test_a_queue_that_is_no_list_is_set_aside_and_the_rest_flows(redis):
    redis.client.set(Q, "somebody's mistake")
    answers = await redis.run(push(), beat(), AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a"))
    assert answers[:3] == ["redis", None, None]
    assert redis.client.get(f"{Q}!bad") == b"somebody's mistake"
    assert redis.client.ttl(f"{Q}!bad") > 86_000
    assert (await redis.take()).raw == push().raw
    assert [level for level, _ in redis.notices] == ["WARNING"]
    assert Q in redis.notices[0][1]


@pytest.mark.parametrize(
    "key",
    [
        *(f"admin:{name}:{{{Q}}}" for name in ("proc", "done", "dead", "owner", "ctl")),
        *("heartbeat:4711", "bots:alive", f"identity:{ROOM}:ann", f"identity-index:{ROOM}"),
    ],
)
async def test_no_key_of_the_wrong_type_stops_anything_for_good(redis, key):
    redis.client.xadd(key, {"a": "stream"})
    await redis.run(*mixed())
    done = Done(getattr(await redis.take(), "token", "none"), "m")
    await redis.run(NextMessage(QUEUE, "one", "first", done), push("n"), AcquireLease(QUEUE, ONE))
    claim = await redis.take()
    await redis.ask(BuryMessage(QUEUE, "one", claim.token, "no"))
    answers = await redis.run(*mixed())
    assert not [each for each in answers if isinstance(each, Exception) and not isinstance(each, LeaseLost)]
    assert redis.without_lifetime() == []
    assert await redis.ask(ReadReceipt(QUEUE, "n")) == "dead"


async def test_reading_moves_nothing(redis):
    redis.client.set("heartbeat:4711", "text", ex=100)
    redis.client.set(f"identity:{ROOM}:ann", "text", ex=100)
    for _ in range(2):
        assert await redis.run(ReadHeartbeat("4711"), ReadIdentity(ROOM, "ann")) == [None, None]
    assert redis.client.get("heartbeat:4711") == b"text"
    assert len(redis.notices) == 2


# The server as a whole


async def test_a_full_server_still_gives_claims_and_takes_receipts(redis):
    await redis.run(push("m1"), push("m2"), AcquireLease(QUEUE, ONE))
    redis.client.config_set("maxmemory", 1)
    try:
        answers = await redis.run(
            push("m3"), AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a"), beat()
        )
        assert [type(each) for each in (answers[0], answers[3])] == [RedisUnavailable] * 2
        assert answers[0].diagnosis.kind is Kind.FULL
        assert answers[0].diagnosis.failure is None
        assert answers[1] is None
        done = Done(answers[2].token, "m1")
        claim, state = await redis.run(NextMessage(QUEUE, "one", "a", done), ReadReceipt(QUEUE, "m1"))
        assert (claim.raw, state) == (push("m2").raw, "handled")
        again = await redis.take(attempt="b")
        assert again.tries == 2
        await redis.ask(BuryMessage(QUEUE, "one", again.token, "no"))
        assert redis.without_lifetime() == []
    finally:
        redis.client.config_set("maxmemory", 0)


async def test_a_replica_fails_writes_and_is_left_while_reads_go_on(redis):
    await redis.run(beat(), push())
    redis.client.replicaof("127.0.0.1", 1)
    try:
        link = redis.store.link
        read, written, sent = await redis.run(ReadHeartbeat("4711"), beat(), push())
        assert isinstance(written, StoreUnavailable)
        assert isinstance(sent, StoreUnavailable)
        assert written is not sent
        # A replica without its primary may refuse to read, too.
        assert isinstance(read, (Heartbeat, StoreUnavailable))
        assert written.diagnosis.kind in (Kind.NOT_WRITABLE, Kind.NOT_READY)
        if written.diagnosis.wrong_server:
            assert link.broken
    finally:
        redis.client.replicaof("NO", "ONE")
    assert (await redis.run(beat()))[0] is None


async def test_a_command_that_redis_does_not_know_fails_alone(redis):
    class Unknown(ReadHeartbeat, frozen=True):
        pass

    first, second = await redis.run(Unknown("4711"), Sweep())
    assert isinstance(first, TypeError)
    assert not isinstance(first, StoreError)
    assert second == 0
