"""Programs that know nothing of us, in plain redis-py, on both sides of our store."""

import json

import anyio
import msgspec
import pytest

from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identities import new_identity
from botvisor.messages import decode_message
from botvisor.room import canonical_room
from botvisor.store import (
    AcquireLease,
    Done,
    ListIdentities,
    NextMessage,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    WriteHeartbeat,
    WriteIdentity,
)

from . import redis_world
from .redis_world import ONE, QUEUE, ROOM

redis = redis_world.redis
anyio_backend = redis_world.one_loop

RAW_ROOM = "HTTPS://Example.test:443/room/"
QUEUES = {
    "4711": QUEUE,
    ROOM: Queue("room", ROOM),
    RAW_ROOM: Queue("room", RAW_ROOM),
    f"pre-spawn:{ROOM}": Queue("pre-spawn", ROOM),
}


class OlderProgram:
    """A gateway, a dashboard or a bot of before."""

    def __init__(self, client):
        self.client = client

    def send(self, key, **message):
        raw = json.dumps(message)
        self.client.publish(f"admin:bot:{key}", raw)
        self.client.rpush(f"admin:queue:{key}", raw)
        self.client.expire(f"admin:queue:{key}", 3600)

    def receive(self, key):
        messages = []
        while (raw := self.client.lpop(f"admin:queue:{key}")) is not None:
            messages.append(json.loads(raw))
        return messages

    def heartbeat(self, pid):
        fields = {
            "pid": pid,
            "room_url": ROOM,
            "participants": json.dumps(["ann"]),
            "timestamp": "2026-01-01",
        }
        self.client.hset(f"heartbeat:{pid}", mapping=fields)
        self.client.expire(f"heartbeat:{pid}", 30)

    def read_heartbeat(self, pid):
        found = {
            name.decode(): value.decode() for name, value in self.client.hgetall(f"heartbeat:{pid}").items()
        }
        return {**found, "pid": int(found["pid"]), "participants": json.loads(found["participants"])}

    def write_identity(self, participant, data):
        key = f"identity:{ROOM}:{participant}"
        fields = {"participant_id": participant, "room_url": ROOM, "timestamp": "2026-01-01T00:00:00"}
        self.client.hset(key, mapping={**fields, "data": json.dumps(data)})
        self.client.expire(key, 86_400)

    def scan_identities(self):
        found = []
        for key in self.client.scan_iter(f"identity:{ROOM}:*"):
            fields = text(self.client.hgetall(key))
            found.append({**json.loads(fields["data"]), "participant_id": fields["participant_id"]})
        return sorted(found, key=lambda each: each["participant_id"])


def text(fields):
    return {name.decode(): value.decode() for name, value in fields.items()}


@pytest.fixture
def older(redis):
    return OlderProgram(redis.client)


@pytest.mark.parametrize("key", QUEUES)
async def test_what_an_older_gateway_sends_is_claimed_in_order(redis, older, key):
    for number in range(3):
        older.send(key, id=f"admin_{number}", message=f"hello {number}", mode="direct", sender_name="Ann")
    older.send(key, message="no id", prompt="ignored")
    queue, done, texts = QUEUES[key], None, []
    await redis.ask(AcquireLease(queue, ONE))
    while (claim := await redis.take(done, queue=queue)) is not None:
        message = decode_message(
            claim.raw,
            fallback_id=claim.name,
            source=claim.source,
            tries=claim.tries,
            received_at=claim.stored_at,
        )
        texts.append((message.text, message.mode, message.sender_name))
        done = Done(claim.token, message.id)
    assert texts == [(f"hello {number}", "immediate", "Ann") for number in range(3)] + [
        ("no id", "queued", None)
    ]
    assert redis.without_lifetime() == []


@pytest.mark.parametrize("key", QUEUES)
async def test_what_we_send_is_received_by_an_older_bot(redis, older, key):
    with redis.client.pubsub() as bell:
        bell.subscribe(f"admin:bot:{key}")
        bell.get_message(timeout=5)
        for number in range(3):
            await redis.ask(PushMessage(QUEUES[key], f"m{number}", b'{"id":"m%d","message":"hi"}' % number))
        assert json.loads(bell.get_message(timeout=5)["data"])["id"] == "m0"
    assert [message["id"] for message in older.receive(key)] == ["m0", "m1", "m2"]


async def test_an_older_reader_beside_ours_takes_each_message_from_it_whole(redis, older):
    for number in range(20):
        older.send("4711", id=f"m{number}", message="x")
    await redis.lease()
    ours, theirs, done = [], [], None
    while (claim := await redis.take(done)) is not None:
        ours.append(msgspec.json.decode(claim.raw)["id"])
        done = Done(claim.token, ours[-1])
        raw = redis.client.lpop("admin:queue:4711")
        theirs += [json.loads(raw)["id"]] if raw else []
    assert sorted(ours + theirs) == sorted(f"m{number}" for number in range(20))


async def test_a_message_that_an_older_reader_took_is_seen_to_be_gone(redis, older):
    await redis.push(b'{"id":"m","message":"hi"}')
    assert await redis.ask(ReadReceipt(QUEUE, "m")) == "stored"
    older.receive("4711")
    assert await redis.ask(ReadReceipt(QUEUE, "m")) == "unknown"


async def test_heartbeats_are_read_in_both_directions(redis, older):
    older.heartbeat(99)
    assert (await redis.ask(ReadHeartbeat("99"))).participants == ("ann",)
    mine = Heartbeat(pid=4711, room_url=ROOM, participants=("bob",), timestamp="2026-01-01", bot_id="4711")
    await redis.ask(WriteHeartbeat("4711", to_hash(mine)))
    found = older.read_heartbeat(4711)
    assert (found["pid"], found["participants"], found["room_url"]) == (4711, ["bob"], ROOM)


async def test_identities_are_read_in_both_directions(redis, older):
    older.write_identity("old", {"sessionUserName": "Old", "participant_id": "forged"})
    await redis.ask(WriteIdentity(new_identity(ROOM, "new", {"sessionUserName": "New"}, "w")))
    merged = (await redis.ask(ReadIdentity(ROOM, "old"))).merged()
    assert (merged["participant_id"], merged["sessionUserName"]) == ("old", "Old")
    assert [each.participant_id for each in await redis.ask(ListIdentities(ROOM))] == ["new", "old"]
    assert [each["sessionUserName"] for each in older.scan_identities()] == ["New", "Old"]


async def test_an_older_program_writes_over_ours_and_we_over_its(redis, older):
    await redis.ask(WriteIdentity(new_identity(ROOM, "ann", {"v": 1}, "w")))
    older.write_identity("ann", {"v": 2})
    assert (await redis.ask(ReadIdentity(ROOM, "ann"))).merged()["v"] == 2
    await anyio.sleep(0.002)
    await redis.ask(WriteIdentity(new_identity(ROOM, "ann", {"v": 3}, "w")))
    assert older.scan_identities() == [{"v": 3, "participant_id": "ann"}]


async def test_two_forms_of_one_room_are_two_queues_and_both_are_served(redis, older):
    assert canonical_room(RAW_ROOM) == ROOM
    older.send(RAW_ROOM, id="raw", message="x")
    older.send(ROOM, id="canonical", message="x")
    queues = (Queue("room", RAW_ROOM), Queue("room", ROOM))
    await redis.run(*(AcquireLease(queue, ONE) for queue in queues))
    claims = await redis.run(*(NextMessage(queue, "one", "a") for queue in queues))
    assert [msgspec.json.decode(claim.raw)["id"] for claim in claims] == ["raw", "canonical"]
