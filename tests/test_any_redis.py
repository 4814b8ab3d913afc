"""Whatever is on Redis under the names that a bot reads, it is served or refused: nothing else fails."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from botvisor import wire
from botvisor.errors import StoreError
from botvisor.heartbeat import Heartbeat
from botvisor.store import (
    AcquireLease,
    CleanUpIdentities,
    IsKept,
    IsServed,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    ReadHeartbeat,
    ReadIdentity,
    ReadPast,
    ReadReceipt,
    Sweep,
    TakeControl,
)

from . import redis_world
from .anything import JSON, SCALARS, encoded, objects, tried
from .redis_world import ONE, QUEUE, ROOM, Q

BYTES = (
    encoded(SCALARS) | st.integers().map(lambda number: b"%d" % number) | encoded(objects(["id", "message"]))
)
RECORDS = encoded(objects(["ended_ms", "reason", *Heartbeat.__struct_fields__]))


def hashes(names):
    return st.dictionaries(st.sampled_from([name.encode() for name in names]) | st.binary(max_size=3), BYTES)


LISTS = st.lists(encoded(JSON) | encoded(objects(["id", "message", "reason"])), min_size=1, max_size=4)
SETS = st.dictionaries(
    st.binary(max_size=5) | st.just(b"4711"), st.floats(allow_nan=False), min_size=1, max_size=3
)
KEYS = {
    Q: ("rpush", LISTS),
    wire.owner_key(Q): ("hset", hashes(wire.OWNER_FIELDS)),
    wire.proc_key(Q): ("hset", hashes(wire.PROC_FIELDS)),
    wire.done_key(Q): ("zadd", SETS),
    wire.dead_key(Q): ("rpush", LISTS),
    wire.control_key(Q): ("rpush", LISTS),
    wire.heartbeat_key("4711"): ("hset", hashes(Heartbeat.__struct_fields__)),
    wire.ALIVE_KEY: ("zadd", SETS),
    wire.epitaph_key("4711"): ("set", RECORDS),
    wire.last_key("4711"): ("set", RECORDS),
    wire.identity_key(ROOM, "p"): ("hset", hashes(wire.IDENTITY_FIELDS + wire.OWN_IDENTITY_FIELDS)),
    wire.identity_index_key(ROOM): ("zadd", SETS),
}
WORLDS = st.fixed_dictionaries({}, optional={key: values for key, (_, values) in KEYS.items()})
COMMANDS = [
    *(ListMessages(QUEUE), ReadReceipt(QUEUE, "a"), IsServed(QUEUE), IsKept(QUEUE, "a")),
    *(AcquireLease(QUEUE, ONE), ReadPast(QUEUE, "one"), TakeControl("4711")),
    *(NextMessage(QUEUE, "one", f"r{number}", None) for number in range(4)),
    *(ReadHeartbeat("4711"), ReadHeartbeat("4711", living=True), ListHeartbeats()),
    *(ReadIdentity(ROOM, "p"), ListIdentities(ROOM), CleanUpIdentities(ROOM), Sweep()),
]


@pytest.fixture(scope="module")
def server():
    return anyio.run(redis_world.server, redis_world.VERSIONS[-1])


async def serve(server, contents):
    world = redis_world.RedisWorld(server)
    for key, value in contents.items():
        if value:
            command = KEYS[key][0]
            parts = [part for pair in value.items() for part in pair] if command == "hset" else value
            if command == "zadd":
                parts = [part for member, score in value.items() for part in (score, member)]
            world.client.execute_command(command, key, *([parts] if command == "set" else parts))
    try:
        return [(await world.run(command))[0] for command in COMMANDS]
    finally:
        await world.aclose()


@tried(40)
@given(WORLDS)
def test_a_redis_full_of_anything_is_served_or_refused(server, contents):
    answers = anyio.run(serve, server, contents)
    for command, answer in zip(COMMANDS, answers, strict=True):
        assert not isinstance(answer, Exception) or isinstance(answer, StoreError), (command, repr(answer))
