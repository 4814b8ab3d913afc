"""Who serves a queue: leases, standing by, taking over, and messages that change hands on the way."""

import os

import anyio
import msgspec
import pytest

from botvisor.errors import BotIdTaken
from botvisor.store import AcquireLease, Queue, ReleaseLease
from botvisor.testing import MemoryStore
from botvisor.wire import LEASE_TTL_S

from .bot_rig import ROOM, Reader, bot_on, logged, own_queue, supervisor_on, until

pytestmark = pytest.mark.virtual_time

THE_ROOM = Queue("room", ROOM)


def in_room(store, main, bot_id, **options):
    return bot_on(store, main, bot_id=bot_id, room_url=ROOM, grace=0, **options)


async def test_each_message_of_a_room_comes_to_one_of_its_bots():
    store, one, two = MemoryStore(), Reader(), Reader()
    async with in_room(store, one, "one") as rig, in_room(store, two, "two"):
        for number in range(10):
            await rig.client.send(ROOM, str(number))
            await anyio.sleep(3)
    assert one.texts == [str(number) for number in range(10)]
    assert two.texts == []


async def test_a_bot_that_stands_by_takes_over_soon_after_the_other_stops():
    store, two = MemoryStore(), Reader()
    async with in_room(store, Reader(), "one") as rig, in_room(store, two, "two"):
        await anyio.sleep(1)
        await rig.handle.stop("the test")
        await rig.client.send(ROOM, "hello", wait=6)
    assert [(m.text, m.redelivered) for m in two.seen] == [("hello", False)]


async def test_a_bot_that_stands_by_takes_over_when_the_lease_of_a_killed_one_ends():
    store, one, two = MemoryStore(), Reader(), Reader()
    async with in_room(store, one, "one") as rig, in_room(store, two, "two") as other:
        for text in ("wait", "next"):
            await rig.client.send(ROOM, text)
        await one.handling.wait()
        rig.link.cut()
        two.go_on.set()
        await other.client.send(ROOM, "new", wait=LEASE_TTL_S + 6)
    assert [(m.text, m.redelivered, m.tries) for m in two.seen] == [
        ("wait", True, 2),
        ("next", False, 1),
        ("new", False, 1),
    ]


async def test_standing_by_and_taking_over_are_told_once():
    store = MemoryStore()
    with logged() as lines:
        async with in_room(store, Reader(), "one") as rig, in_room(store, Reader(), "two"):
            await anyio.sleep(60)
            await rig.handle.stop("the test")
            await anyio.sleep(60)
        told = [line for line in lines if "bot two stands by" in line or "Bot two serves" in line]
    queues = (Queue("bot", str(os.getpid())), THE_ROOM, Queue("pre-spawn", ROOM))
    assert len(told) == 2 * len(queues)
    for queue, line in zip(queues, told, strict=False):
        assert line.startswith("INFO [memory-admin] process ")
        assert line.endswith(f" serves {queue}: bot two stands by")
    assert told[len(queues) :] == [f"INFO [memory-admin] Bot two serves {queue} now" for queue in queues]


async def test_a_lease_that_somebody_else_has_taken_is_told_as_a_warning():
    store = MemoryStore()
    with logged() as lines:
        async with in_room(store, Reader(), "one") as rig, in_room(store, Reader(), "two"):
            await anyio.sleep(1)
            rig.link.cut()
            await anyio.sleep(40)
            rig.link.join()
            await anyio.sleep(40)
        told = [line for line in lines if f"serves {THE_ROOM}: bot one stands by" in line]
    assert [line.split()[0] for line in told] == ["WARNING"]


async def test_what_waited_unshown_while_another_bot_had_the_lease_is_not_shown_unasked():
    store, one, two = MemoryStore(), Reader(), Reader()
    async with in_room(store, one, "one") as rig, in_room(store, two, "two") as other:
        await rig.client.send("one", "wait")
        await one.handling.wait()
        await rig.client.send(ROOM, "handled by two")
        await anyio.sleep(1)
        rig.link.cut()  # it has claimed the room's message, and shown it to nobody
        await until(lambda: two.seen)
        await anyio.sleep(1)
        await other.handle.stop("the test")
        rig.link.join()
        await anyio.sleep(40)
        one.go_on.set()
        await rig.client.send(ROOM, "last", wait=5)
    assert [(m.text, m.redelivered) for m in two.seen] == [("handled by two", True)]
    assert one.texts == ["wait", "last"]


async def test_what_another_bot_was_shown_meanwhile_is_marked():
    store, one, two = MemoryStore(), Reader(), Reader(**{"left by two": 1})
    async with in_room(store, one, "one") as rig, in_room(store, two, "two") as other:
        await rig.client.send("one", "wait")
        await one.handling.wait()
        await rig.client.send(ROOM, "left by two")
        await anyio.sleep(1)
        rig.link.cut()
        await other.handle.finished.wait()
        rig.link.join()
        await anyio.sleep(40)
        one.go_on.set()
        await until(lambda: len(one.seen) == 2)
    assert [(m.text, m.redelivered, m.tries) for m in one.seen] == [
        ("wait", False, 1),
        ("left by two", True, 3),
    ]


async def test_no_message_is_shown_after_the_lease_has_run_out():
    store, main = MemoryStore(), Reader()
    async with in_room(store, main, "one") as rig:
        await rig.client.send("one", "wait")
        await main.handling.wait()
        await rig.client.send(ROOM, "unshown")
        await anyio.sleep(1)
        rig.link.cut()
        await anyio.sleep(LEASE_TTL_S)
        main.go_on.set()
        await anyio.sleep(10)
        assert main.texts == ["wait"]
        rig.link.join()
        await until(lambda: main.texts == ["wait", "unshown"], within=5)
    assert not any(m.redelivered for m in main.seen)


async def test_a_lease_counts_from_before_it_was_asked_for():
    store, main = MemoryStore(), Reader()
    async with in_room(store, main, "one") as rig:
        await rig.client.send("one", "wait")
        await main.handling.wait()
        await rig.client.send(ROOM, "unshown")
        taken_at = []

        async def pass_on(moment, commands):
            if taken_at:
                await anyio.sleep_forever()
            if moment == "answered" and any(isinstance(c, AcquireLease) for c in commands):
                taken_at.append(anyio.current_time())
                await anyio.sleep(1.5)  # the store has renewed the lease; the news of it takes its time

        rig.link.pass_on = pass_on
        await until(lambda: taken_at)
        await anyio.sleep(taken_at[0] + LEASE_TTL_S - anyio.current_time() + 0.5)
        main.go_on.set()
        await anyio.sleep(1)
        assert main.texts == ["wait"]


async def test_a_lease_that_the_store_has_lost_is_taken_again():
    store, main = MemoryStore(), Reader()
    async with in_room(store, main, "one") as rig:
        await anyio.sleep(1)
        owner = rig.handle.vitals.owner
        await store.execute([ReleaseLease(THE_ROOM, owner.instance)])
        receipt = await rig.client.send(ROOM, "hello", wait=1)
    assert receipt.state == "handled"
    assert [m.redelivered for m in main.seen] == [False]


async def test_what_main_handles_after_its_lease_was_lost_does_not_come_to_it_again():
    store, main = MemoryStore(), Reader()
    async with in_room(store, main, "one") as rig:
        await rig.client.send(ROOM, "wait")
        await main.handling.wait()
        await store.execute([ReleaseLease(THE_ROOM, rig.handle.vitals.owner.instance)])
        main.go_on.set()
        receipt = await rig.client.send(ROOM, "next", wait=10)
    assert receipt.state == "handled"
    assert main.texts == ["wait", "next"]


async def test_what_main_handles_while_another_bot_has_the_lease_does_not_come_to_it_again():
    store, one, two = MemoryStore(), Reader(), Reader(wait=1)
    async with in_room(store, one, "one") as rig, in_room(store, two, "two") as other:
        await rig.client.send(ROOM, "wait")
        await one.handling.wait()
        rig.link.cut()
        await other.handle.finished.wait()  # it was shown the message, and failed
        rig.link.join()
        await anyio.sleep(10)
        one.go_on.set()
        receipt = await rig.client.send(ROOM, "next", wait=10)
    assert receipt.state == "handled"
    assert one.texts == ["wait", "next"]
    assert [m.redelivered for m in two.seen] == [True]


async def test_a_given_id_that_another_bot_has_is_refused():
    store = MemoryStore()
    async with bot_on(store, Reader()) as rig, supervisor_on(store) as (supervisor, _):
        with pytest.raises(BotIdTaken, match=f"instance {rig.handle.vitals.owner.instance}"):
            await supervisor.start_bot(Reader(), bot_id="bot")


async def test_the_queue_of_the_pid_is_served_by_one_bot_of_the_process():
    store, one, two, pid = MemoryStore(), Reader(), Reader(), str(os.getpid())
    async with bot_on(store, one, bot_id="one") as first, bot_on(store, two, bot_id="two") as second:
        await second.client.send(pid, "first", wait=6)
        await first.handle.stop("the test")
        await second.client.send(pid, "second", wait=10)
    assert (one.texts, two.texts) == (["first"], ["second"])


async def test_a_bot_that_starts_while_the_store_is_away_serves_its_queues_later():
    store, main = MemoryStore(), Reader()
    store.hang()
    async with bot_on(store, main) as rig:
        await anyio.sleep(30)
        store.heal()
        await rig.client.send("bot", "hello", wait=6)
    assert main.texts == ["hello"]


async def test_an_inbox_that_stops_gives_every_lease_up():
    store = MemoryStore()
    async with in_room(store, Reader(), "one") as rig:
        await anyio.sleep(1)
        queues = [lane.queue for lane in rig.bot.inbox.lanes]
        other = msgspec.structs.replace(rig.handle.vitals.owner, instance="another")
        await rig.supervisor.core.stop("one/inbox", "the test")
        assert await store.execute([AcquireLease(queue, other) for queue in queues]) == [None] * len(queues)


async def test_a_killed_bots_own_queue_waits_for_its_successor():
    store, one, two = MemoryStore(), Reader(), Reader()
    async with bot_on(store, one) as rig:
        await rig.client.send("bot", "wait")
        await one.handling.wait()
        rig.link.cut()
        await anyio.sleep(LEASE_TTL_S + 1)
        async with bot_on(store, two):
            await until(lambda: two.seen)
    assert [(m.text, m.redelivered, m.tries) for m in two.seen] == [("wait", True, 2)]
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]
