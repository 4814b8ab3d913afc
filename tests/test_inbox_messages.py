"""Which messages come to `main`: of which queues, in which order, and how often each."""

import os

import anyio
import msgspec
import pytest

from botvisor.inbox import Inbox
from botvisor.lane import Lane
from botvisor.messages import decode_message
from botvisor.restart import Policy
from botvisor.store import Claim, PushMessage, Queue
from botvisor.testing import MemoryStore

from .bot_rig import ROOM, Reader, bot_on, own_queue, until

pytestmark = pytest.mark.virtual_time

TRANSIENT = Policy(restart="transient")


async def put(store, queue, raw, name="name"):
    assert await store.execute([PushMessage(queue, name, raw)]) == ["memory"]


async def test_every_queue_of_the_bot_is_served():
    queues = [
        Queue("bot", "bot"),
        Queue("bot", str(os.getpid())),
        Queue("room", "https://Example.test/room/?from=mail"),
        Queue("room", ROOM),
        Queue("pre-spawn", ROOM),
    ]
    store, main = MemoryStore(), Reader()
    for queue in queues:
        await put(store, queue, b'{"message": "%s"}' % str(queue).encode(), str(queue))
    async with bot_on(store, main, room_url="https://Example.test/room/?from=mail"):
        await until(lambda: len(main.seen) == 5)
    assert sorted(main.texts) == sorted(str(queue) for queue in queues)


async def test_a_bot_without_a_room_has_no_room_queues():
    async with bot_on(MemoryStore(), Reader()) as rig:
        assert {lane.queue.kind for lane in rig.bot.inbox.lanes} == {"bot"}


async def test_messages_of_a_queue_come_in_the_order_they_were_sent():
    main = Reader(**{"7": 2})
    async with bot_on(MemoryStore(), main, policy=TRANSIENT) as rig:
        for number in range(20):
            await rig.client.send("bot", str(number))
        await until(lambda: main.texts[-1:] == ["19"])
    assert list(dict.fromkeys(main.texts)) == [str(number) for number in range(20)]


async def test_messages_of_several_queues_come_in_the_order_they_were_stored():
    main = Reader()
    async with bot_on(MemoryStore(), main, room_url=ROOM) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        await rig.client.send(ROOM, "first")
        await rig.client.send(str(os.getpid()), "second")
        await anyio.sleep(1)
        main.go_on.set()
        await until(lambda: len(main.seen) == 3)
    assert main.texts == ["wait", "first", "second"]


async def test_an_id_that_comes_twice_in_a_queue_is_shown_once():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        for _ in range(2):
            await rig.client.send("bot", {"id": "twin", "message": "hello"})
        await rig.client.send("bot", "last", wait=5)
    assert main.texts == ["hello", "last"]
    assert store.queue(own_queue()).messages() == []


async def test_an_id_that_comes_in_two_queues_is_shown_once():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, room_url=ROOM) as rig:
        receipts = [await rig.client.send(to, {"id": "twin", "message": "hello"}) for to in ("bot", ROOM)]
        await anyio.sleep(1)
        assert [(await rig.client.receipt(receipt)).state for receipt in receipts] == ["handled"] * 2
    assert main.texts == ["hello"]


async def test_the_twin_of_a_message_whose_reader_failed_is_marked():
    main = Reader(hello=1)
    async with bot_on(MemoryStore(), main, room_url=ROOM, policy=TRANSIENT) as rig:
        for target in ("bot", ROOM):
            await rig.client.send(target, {"id": "twin", "message": "hello"})
        await anyio.sleep(10)
    assert [m.redelivered for m in main.seen] == [False, True]


async def test_the_twin_of_a_redelivered_message_is_marked_in_a_new_process():
    store, main = MemoryStore(), Reader()
    await put(store, own_queue("two"), b'{"id": "twin", "message": "hello"}')
    async with bot_on(store, Reader(hello=1), bot_id="one", room_url=ROOM) as rig:
        await rig.client.send(ROOM, {"id": "twin", "message": "hello"})
        await rig.handle.finished.wait()
    async with bot_on(store, main, bot_id="two", room_url=ROOM):
        await anyio.sleep(1)
    assert [m.redelivered for m in main.seen] == [True]


async def test_an_id_that_was_given_up_and_is_sent_again_is_marked():
    main = Reader(hello=3)
    async with bot_on(MemoryStore(), main, policy=TRANSIENT) as rig:
        for _ in range(2):
            await rig.client.send("bot", {"id": "twin", "message": "hello"})
        await anyio.sleep(10)
    assert [(m.redelivered, m.tries) for m in main.seen] == [(False, 1), (True, 2), (True, 3), (True, 1)]


async def test_an_id_that_an_earlier_process_handled_is_not_shown():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, Reader()) as rig:
        await rig.client.send("bot", {"id": "twin", "message": "hello"}, wait=5)
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", {"id": "twin", "message": "hello"})
        await rig.client.send("bot", "last", wait=5)
    assert main.texts == ["last"]


async def test_what_a_store_is_in_doubt_about_is_marked():
    class Doubting(MemoryStore):
        async def execute(self, commands):
            answers = await super().execute(commands)
            return [msgspec.structs.replace(a, doubtful=True) if isinstance(a, Claim) else a for a in answers]

    main = Reader()
    async with bot_on(Doubting(), main) as rig:
        await rig.client.send("bot", "hello", wait=5)
    assert [(m.redelivered, m.tries) for m in main.seen] == [(True, 1)]


async def test_equal_texts_without_an_id_are_two_messages():
    store, main = MemoryStore(), Reader()
    for name in ("first", "second"):
        await put(store, own_queue(), b'{"message": "hello"}', name)
    async with bot_on(store, main):
        await until(lambda: len(main.seen) == 2)
    assert [m.id for m in main.seen] == ["first", "second"]


@pytest.mark.parametrize("raw", [b"no json", b'{"id": "silent"}', b'{"message": "%s"}' % (b"x" * 2_000_000)])
async def test_what_nobody_can_understand_is_kept_and_holds_nothing_up(raw):
    store, main = MemoryStore(), Reader()
    store.queue(own_queue()).push(PushMessage(own_queue(), "bad", raw), anyio.current_time())
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", "good", wait=5)
    assert main.texts == ["good"]
    assert [bytes_kept for bytes_kept, _ in store.queue(own_queue()).quarantined] == [raw]


async def test_ten_thousand_handled_ids_are_remembered_and_no_more():
    inbox = Inbox()
    lane = Lane(own_queue())
    inbox.lanes, lane.leased_until = [lane], anyio.current_time() + 1
    for number in range(10_002):
        raw = b'{"id": "%d", "message": "hello"}' % number
        claim = Claim(token="token", raw=raw, name="name", tries=1, source="memory", stored_at=0.0)
        lane.put(claim, decode_message(raw, fallback_id="", source="memory", received_at=0.0))
        await anext(inbox)
        inbox.reader_ended(handled=True)
    assert [inbox.was_handled(str(number)) for number in (0, 1, 2, 10_001)] == [False, False, True, True]
