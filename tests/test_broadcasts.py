"""Broadcasts: messages to everybody who listens, which no queue holds."""

import anyio
import msgspec
import pytest

from botvisor import Policy
from botvisor.store import Broadcast, PushMessage
from botvisor.testing import MemoryStore

from .bot_rig import ROOM, Reader, bot_on, logged, own_queue, until

pytestmark = pytest.mark.virtual_time


async def broadcast(store, **fields):
    (heard,) = await store.execute([Broadcast(msgspec.json.encode({"id": "b", "message": "all", **fields}))])
    return heard


async def push(store):
    """Queue the same message."""
    await store.execute([PushMessage(own_queue(), "b", msgspec.json.encode({"id": "b", "message": "all"}))])


async def test_every_bot_gets_it():
    store, one, two = MemoryStore(), Reader(), Reader()
    async with bot_on(store, one, bot_id="one"), bot_on(store, two, bot_id="two"):
        assert await broadcast(store) == 2
        await until(lambda: one.seen and two.seen)
    assert [(m.text, m.source, m.redelivered) for m in (*one.seen, *two.seen)] == [
        ("all", "broadcast", False)
    ] * 2


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"bot_pid": "bot"}, True),
        ({"data": {"botPid": "another"}}, False),
        ({"room_url": f"{ROOM}/?x=1"}, True),
        ({"data": {"roomUrl": "https://example.test/another"}}, False),
    ],
)
async def test_one_that_names_a_bot_or_a_room_is_for_those_alone(fields, heard):
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, room_url=ROOM):
        await broadcast(store, **fields)
        await broadcast(store, id="end", message="end")
        await until(lambda: "end" in main.texts)
    assert ("all" in main.texts) == heard


async def test_what_is_queued_as_well_is_shown_once():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        await broadcast(store)
        await until(lambda: main.seen)
        await push(store)
        await rig.client.send("bot", "end", wait=5)
    assert main.texts == ["all", "end"]


async def test_what_its_reader_died_of_is_shown_again_from_a_queue_marked():
    store, main = MemoryStore(), Reader(all=1)
    policy = Policy(restart="transient")
    async with bot_on(store, main, policy=policy):
        await broadcast(store)
        await until(lambda: main.seen)
        await push(store)
        await until(lambda: len(main.seen) == 2)
    assert [(m.source, m.redelivered) for m in main.seen] == [("broadcast", False), ("memory", True)]


async def test_after_the_end_nothing_is_taken_in():
    store, main = MemoryStore(), Reader()
    main.go_on.set()
    async with bot_on(store, main) as rig:
        rig.bot.inbox.end()
        await broadcast(store)
        await anyio.sleep(1)
    assert main.texts == []
    assert await broadcast(store) == 0


async def test_nonsense_is_told_and_harms_nobody():
    store, main = MemoryStore(), Reader()
    with logged() as lines:
        async with bot_on(store, main):
            await store.execute([Broadcast(b"\xff"), Broadcast(b'{"id": "end", "message": "end"}')])
            await until(lambda: main.texts == ["end"])
    assert [line for line in lines if "Ignored a broadcast" in line]
