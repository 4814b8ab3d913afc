"""What was forwarded stays in the spool until Redis says that it was handled: its bot may start on files."""

import os
import time

import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.actors.backend.forwarded_files import ForwardedFiles
from botvisor.actors.backend.spool_names import forwarded_name, is_forwarded, original_name
from botvisor.config import Settings
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Done,
    ListMessages,
    NextMessage,
    PushControl,
    Queue,
    ReadReceipt,
    ReleaseLease,
    ReturnMessage,
    TakeControl,
)

from . import failover_rig, redis_server
from .failover_rig import LANE, ONE, QUEUE, ROOM, RedisQueue, of_level, push

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers


@pytest.fixture
def anyio_backend():
    return "asyncio"


def on_files_alone(rig):
    """The store of a bot that uses no Redis."""
    return FileStore(Settings(admin_message_dir=rig.admin, heartbeat_dir=rig.admin, identity_dir=rig.admin))


async def take(store, queue=QUEUE, done=None):
    *_, claim = await store.execute(
        [AcquireLease(queue, ONE), NextMessage(queue, ONE.instance, "first", done)]
    )
    return claim


async def spooled_and_forwarded(rig, message_id="m", queue=QUEUE):
    await rig.files.execute([push(message_id, queue)])
    await rig.store.tend()
    assert rig.waiting() == []
    assert len(rig.forwarded()) == 1


@pytest.mark.parametrize("end", ["handled", "dead"])
async def test_a_file_goes_once_redis_says_that_its_message_has_ended(servers, rigs, end):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    claim = await take(rig.redis, LANE)
    await rig.tend_again()
    assert len(rig.forwarded()) == 1
    if end == "handled":
        await take(rig.redis, LANE, Done(claim.token, "m"))
    else:
        await rig.redis.execute([BuryMessage(LANE, ONE.instance, claim.token, "why")])
    assert rig.client().llen("admin:queue:4711") == 0
    await rig.tend_again()
    assert rig.spooled() == []


async def test_it_is_pushed_once(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    await rig.tend_again(4)
    assert rig.on_redis() == ["m"]
    assert len(rig.forwarded()) == 1


async def test_a_bot_on_files_alone_is_shown_it_and_told_that_it_may_be_a_repeat(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    bot = on_files_alone(rig)
    claim = await take(bot)
    assert (claim.source, claim.doubtful) == ("file", True)
    assert await take(bot, done=Done(claim.token, "m")) is None
    assert rig.spooled() == []
    (state,) = await rig.run(ReadReceipt(QUEUE, "m"))
    assert state == "handled"


async def test_a_bot_that_uses_redis_leaves_it_to_its_redis_lane(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    here = RedisQueue("bot", "4711", "file")
    assert await take(rig.files, here) is None
    assert (await take(rig.redis, LANE)).source == "redis"
    assert len(rig.forwarded()) == 1


async def test_an_older_writers_message_keeps_its_id_whoever_is_shown_it(servers, rigs):
    rig = rigs(await servers())
    await rig.files.execute([push()])
    (rig.admin / "admin-9-1700.json").write_bytes(b'{"prompt": "hi"}')
    crashed = rigs(rig.server).store._forwarder
    crashed.begin()
    crashed._move("admin-9-1700.json", "admin-9-fwd.1700.json")  # and no further
    crashed.close()
    claim = await take(on_files_alone(rig), Queue("bot", "9"))
    assert claim.name == "admin-9-1700.json"


async def test_a_redis_that_lost_its_memory_gets_it_again_marked(servers, rigs, lines):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    rig.client().flushall()
    await rig.tend_again()
    assert rig.on_redis() == []  # whoever had handled it may tell yet
    await rig.tend_again()
    assert rig.on_redis() == ["m"]
    assert b'"resent":true' in rig.client().lindex("admin:queue:4711", 0)
    assert [text for text in of_level(lines, "WARNING") if "Sent again from the spool" in text]
    await rig.tend_again(3)
    assert rig.on_redis() == ["m"]
    assert (await take(rig.redis, LANE)).raw.endswith(b'"resent":true}')


async def test_what_was_told_late_to_a_redis_without_memory_is_not_sent_again(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    claim = await take(rig.redis, LANE)
    rig.client().flushall()
    await rig.tend_again()
    await take(rig.redis, LANE, Done(claim.token, "m"))  # with the next message that it asks for
    await rig.tend_again(3)
    assert rig.on_redis() == []
    assert rig.spooled() == []


async def test_what_an_older_bot_took_from_redis_is_not_kept(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    assert rig.client().lpop("admin:queue:4711")
    await rig.tend_again(3)
    assert rig.on_redis() == []
    assert rig.spooled() == []


async def test_what_lies_too_deep_in_a_long_queue_is_kept(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    rig.client().rpush("admin:queue:4711", *(f'{{"id": "later{number}"}}' for number in range(1_100)))
    await rig.tend_again(3)
    assert len(rig.forwarded()) == 1
    assert rig.client().llen("admin:queue:4711") == 1_101


async def test_a_room_in_another_form_is_looked_for_where_its_sender_sent_it(servers, rigs):
    rig = rigs(await servers())
    raw_room = "HTTPS://Example.test:443/room/"
    message = push("m", Queue("room", raw_room))
    message = type(message)(message.queue, "m", b'{"id":"m","room_url":"%s"}' % raw_room.encode())
    assert await rig.run(message) == ["redis"]
    assert len(rig.forwarded()) == 1
    await rig.tend_again(3)
    assert rig.on_redis(ROOM) == []
    assert rig.on_redis(raw_room) == ["m"]


async def test_operators_see_it_once(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    (held,) = await rig.run(ListMessages(QUEUE))
    assert [(each.store, each.state) for each in held] == [("redis", "stored")]
    rig.client().delete("admin:queue:4711")
    (held,) = await rig.run(ListMessages(QUEUE))
    assert [(each.store, each.state) for each in held] == [("file", "stored")]


async def test_a_control_object_stays_until_it_expires_and_is_nobodys_receipt(servers, rigs):
    rig = rigs(await servers())
    control = PushControl("4711", "c", b'{"v": 1, "id": "c", "command": "stop"}')
    await rig.files.execute([control])
    await rig.tend_again(3)
    assert rig.client().llen("admin:ctl:{admin:queue:4711}") == 1
    (name,) = rig.forwarded()
    old = time.time() - 301
    os.utime(rig.admin / name, (old, old))
    await rig.store.tend()
    assert rig.spooled() == []


async def test_a_bot_gets_a_forwarded_control_object_from_either_store(servers, rigs):
    rig = rigs(await servers())
    control = PushControl("4711", "c", b'{"v": 1, "id": "c", "command": "stop"}')
    await rig.files.execute([control])
    await rig.store.tend()
    assert await rig.files.execute([TakeControl("4711")]) == [[control.raw]]
    assert await rig.redis.execute([TakeControl("4711")]) == [[control.raw]]


async def test_a_message_that_a_file_bot_gave_back_is_still_looked_after(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    bot = on_files_alone(rig)
    claim = await take(bot)
    await bot.execute([ReturnMessage(QUEUE, ONE.instance, claim.token), ReleaseLease(QUEUE, ONE.instance)])
    assert len(rig.forwarded()) == 1
    claim = await take(rig.redis, LANE)
    await take(rig.redis, LANE, Done(claim.token, "m"))
    await rig.tend_again()
    assert rig.spooled() == []


async def test_looks_are_bounded_and_become_rare(servers, rigs):
    rig = rigs(await servers())
    await spooled_and_forwarded(rig)
    (name,) = rig.forwarded()
    kept = ForwardedFiles(rig.files.spool)

    def is_due(*, looked_s, age_s):
        """Whether it is due, so long after the last look, so long after it was written."""
        os.utime(rig.admin / name, (time.time() - looked_s, time.time() - age_s))
        kept.find([name])
        return bool(kept.due)

    assert is_due(looked_s=9, age_s=9)  # it never was looked at
    assert not is_due(looked_s=4, age_s=5)
    assert is_due(looked_s=5.1, age_s=6)
    assert not is_due(looked_s=20, age_s=50)
    assert is_due(looked_s=61, age_s=1_000)
    assert not is_due(looked_s=61, age_s=3_601)


@pytest.mark.parametrize("rest", ["1700.json", "1700-000001-m.json", "x" * 240 + ".json"])
def test_a_forwarded_name_begins_alike_and_can_be_told(rest):
    name = f"admin-4711-{rest}"
    forwarded = forwarded_name(name)
    assert forwarded.startswith("admin-4711-fwd.")
    assert len(forwarded) <= 255
    assert is_forwarded(forwarded)
    assert not is_forwarded(name)
    if len(name) < 240:
        assert original_name(forwarded) == name
