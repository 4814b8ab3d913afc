"""One message in both stores, in a room that several bots serve."""

import msgspec
import pytest

from botvisor import Settings, heartbeat
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    Done,
    NextMessage,
    PushMessage,
    Queue,
    ReadReceipt,
    ReleaseLease,
    WriteHeartbeat,
)
from botvisor.testing import MemoryStore

from .bot_rig import ROOM, Reader, bot_on, until

pytestmark = pytest.mark.virtual_time

ON_REDIS, ON_FILES = Queue("room", ROOM, "redis"), Queue("room", ROOM, "file")
STRANGER = own("stranger", "stranger")
FAR_AWAY = msgspec.structs.replace(STRANGER, host="elsewhere", boot_id="another boot")


def in_room(store, main, **more):
    return bot_on(store, main, room_url=ROOM, settings=Settings(use_redis=True), **more)


async def ask(store, *commands):
    answers = await store.execute(commands)
    assert not any(isinstance(answer, Exception) for answer in answers), answers
    return answers[-1]


def push(queue, message_id):
    raw = msgspec.json.encode({"id": message_id, "message": message_id})
    return PushMessage(queue, message_id, raw)


async def claim(store, queue):
    return await ask(store, NextMessage(queue, "stranger", "stranger-0"))


async def test_what_another_bot_handled_from_the_other_store_meanwhile_is_not_shown():
    store, main = MemoryStore(), Reader()
    await ask(store, AcquireLease(ON_FILES, STRANGER))
    async with in_room(store, main):
        await ask(store, push(ON_FILES, "twin"))
        taken = await claim(store, ON_FILES)
        await ask(store, NextMessage(ON_FILES, "stranger", "stranger-0", Done(taken.token, "twin")))
        await ask(store, push(ON_REDIS, "twin"), push(ON_REDIS, "end"))
        await until(lambda: main.seen)
    assert main.texts == ["end"]
    assert await ask(store, ReadReceipt(ON_REDIS, "twin")) == "handled"


async def test_what_another_bot_has_in_hand_from_the_other_store_is_marked():
    store, main = MemoryStore(), Reader()
    await ask(store, AcquireLease(ON_FILES, STRANGER))
    async with in_room(store, main):
        await ask(store, push(ON_FILES, "twin"))
        await claim(store, ON_FILES)
        await ask(store, push(ON_REDIS, "twin"), push(ON_REDIS, "end"))
        await until(lambda: "end" in main.texts)
    assert [(message.text, message.redelivered) for message in main.seen] == [("twin", True), ("end", False)]


async def test_a_room_in_the_spool_is_left_to_whoever_serves_it_on_redis():
    store, main = MemoryStore(), Reader()
    await ask(store, AcquireLease(ON_REDIS, STRANGER))
    async with in_room(store, main, bot_id="one"):
        assert await ask(store, AcquireLease(ON_FILES, STRANGER)) is None
        await ask(store, push(ON_FILES, "theirs"))
        assert (await claim(store, ON_FILES)).name == "theirs"
    assert main.texts == []


async def test_one_message_in_both_stores_is_shown_once_by_the_bot_that_serves_both():
    store, main = MemoryStore(), Reader()
    async with in_room(store, main):
        await ask(store, push(ON_FILES, "twin"), push(ON_REDIS, "twin"), push(ON_REDIS, "end"))
        await until(lambda: "end" in main.texts)
        await until(lambda: store.queue(ON_FILES).receipt("twin") == "handled")
    assert sorted(main.texts) == ["end", "twin"]


async def marks_after_a_takeover(owner, leave):
    """Return what a bot is shown of a room that somebody else served before, each with its mark."""
    store, main = MemoryStore(), Reader()
    await ask(store, AcquireLease(ON_REDIS, owner))
    async with in_room(store, main):
        await ask(store, push(ON_REDIS, "waited"))
        await leave(store)
        await until(lambda: main.seen)
        await ask(store, push(ON_REDIS, "end"))
        await until(lambda: "end" in main.texts)
    return [(message.text, message.redelivered) for message in main.seen]


async def fall_silent(_):
    """Do nothing: the lease runs out."""


async def stop_in_order(store):
    fields = heartbeat.to_hash(
        heartbeat.Heartbeat(
            pid=1,
            room_url=ROOM,
            participants=(),
            timestamp="2026-11-25T12:00:00+00:00",
            bot_id="stranger",
            instance="stranger",
            status="stopped",
        )
    )
    await ask(store, WriteHeartbeat("stranger", fields), ReleaseLease(ON_REDIS, "stranger"))


async def test_what_waited_for_a_holder_on_another_host_that_fell_silent_is_marked():
    # It may have been cut off from Redis, and shown its host's copy of the message meanwhile.
    seen = await marks_after_a_takeover(FAR_AWAY, fall_silent)
    assert seen == [("waited", True), ("end", False)]


async def test_what_waited_for_a_holder_that_stopped_in_order_is_not_marked():
    seen = await marks_after_a_takeover(FAR_AWAY, stop_in_order)
    assert seen == [("waited", False), ("end", False)]


async def test_what_waited_for_a_silent_holder_on_this_host_is_not_marked():
    # Its spool is ours: what it was shown from there is known.
    seen = await marks_after_a_takeover(STRANGER, fall_silent)
    assert seen == [("waited", False), ("end", False)]
