"""Queues on Redis that hold what no honest writer puts there: nothing is lost, and nothing is in the way."""

import msgspec
import pytest

from botvisor.errors import StoreError
from botvisor.store import BuryMessage, ListMessages, PushControl, ReadReceipt
from botvisor.wire import DEAD_LIMIT, MAX_MESSAGE_BYTES

from . import redis_world
from .redis_world import QUEUE, Q

redis = redis_world.redis
anyio_backend = redis_world.one_loop

DEAD = "admin:dead:{admin:queue:4711}"


def message(message_id):
    return msgspec.json.encode({"id": message_id, "message": "hello"})


def letters(redis):
    found = (raw.partition(b"\n") for raw in redis.client.lrange(DEAD, 0, -1))
    return [(msgspec.json.decode(line), raw) for line, _, raw in found]


async def test_what_is_too_large_goes_to_the_dead_letters_unread(redis):
    huge = b'{"message":"' + b"x" * MAX_MESSAGE_BYTES + b'"}'
    redis.client.rpush(Q, *[huge] * 20, message("m"))
    await redis.lease()
    assert (await redis.take()).raw == message("m")
    kept = letters(redis)
    assert len(kept) == 20
    assert kept[0][1] == huge
    assert (kept[0][0]["size"], kept[0][0]["reason"]) == (len(huge), f"{len(huge)} bytes, more than 1048576")
    listed = await redis.ask(ListMessages(QUEUE))
    assert sum(len(item.raw) for item in listed) < 20 * MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe",
        b"",
        b"[1]",
        b"12",
        b'{"message":"cut',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"id":"\\ud800"}',
    ],
    ids=["bytes", "empty", "list", "number", "cut", "deep", "surrogate"],
)
async def test_what_cannot_be_decoded_is_put_away_with_its_bytes(redis, raw):
    redis.client.rpush(Q, raw, message("m"))
    await redis.lease()
    assert (await redis.take()).raw == message("m")
    ((letter, kept),) = letters(redis)
    assert (kept, letter["malformed"]) == (raw, True)
    assert [level for level, _ in redis.notices] == ["WARNING"]
    dead, _ = await redis.ask(ListMessages(QUEUE))
    assert (dead.raw, dead.reason.startswith("malformed: ")) == (raw, True)


async def test_only_the_newest_thousand_dead_letters_are_kept(redis):
    redis.client.rpush(DEAD, *[b'{"reason":"old"}\n{}'] * DEAD_LIMIT)
    await redis.push(message("m"))
    await redis.lease()
    await redis.ask(BuryMessage(QUEUE, "one", (await redis.take()).token, "new"))
    assert redis.client.llen(DEAD) == DEAD_LIMIT
    assert letters(redis)[-1][0]["reason"] == "new"
    assert await redis.ask(ReadReceipt(QUEUE, "m")) == "dead"


async def test_a_list_of_a_million_bytes_and_more_is_shown_in_part(redis):
    for _ in range(30):
        redis.client.rpush(Q, b'{"message":"%s"}' % (b"x" * 1_000_000))
    redis.client.rpush(Q, *[b'{"message":"x"}'] * 3000)
    listed = await redis.ask(ListMessages(QUEUE))
    assert 10 < len(listed) < 30
    redis.client.ltrim(Q, 30, -1)
    assert len(await redis.ask(ListMessages(QUEUE))) == 1000


async def test_a_dead_letter_that_is_none_of_ours_is_shown_all_the_same(redis):
    redis.client.rpush(DEAD, b"\xff no letter", b"{}\n" + message("m"))
    assert [item.raw for item in await redis.ask(ListMessages(QUEUE))] == [b"", message("m")]
    assert await redis.ask(ReadReceipt(QUEUE, "m")) == "dead"


async def test_a_control_object_over_the_limit_is_refused(redis):
    with pytest.raises(StoreError):
        await redis.ask(PushControl("4711", "c", b"x" * (MAX_MESSAGE_BYTES + 1)))
