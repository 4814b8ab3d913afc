"""What the inbox does while the store is away: it waits, says so once, and forgets nothing."""

import anyio
import pytest

from botvisor.errors import StoreUnavailable
from botvisor.store import BuryMessage, PushMessage, Queue
from botvisor.testing import MemoryStore, crash

from .bot_rig import ROOM, Reader, bot_on, is_settled, logged, own_queue, send_all, until

pytestmark = pytest.mark.virtual_time

AWAY = StoreUnavailable("no disk")


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_an_outage_of_the_store_loses_and_repeats_nothing(fault):
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, room_url=ROOM) as rig:
        await send_all(rig, 4)
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        await rig.client.send(ROOM, "after")
        store.hang() if fault == "hangs" else store.fail_with(AWAY)
        await anyio.sleep(5)
        main.go_on.set()
        await anyio.sleep(55)
        store.heal()
        await until(lambda: is_settled(store), within=2.5)
    assert sorted(main.texts) == ["0", "1", "2", "3", "after", "wait"]
    assert not any(m.redelivered for m in main.seen)


async def test_a_short_outage_delays_a_message_by_little():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        await anyio.sleep(1)
        rig.link.errors[own_queue()] = AWAY
        await store.execute([PushMessage(own_queue(), "late", b'{"message": "late"}')])
        await anyio.sleep(1)
        rig.link.errors.clear()
        await until(lambda: main.seen, within=2)


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_an_outage_makes_no_storm_of_commands(fault):
    store = MemoryStore()
    async with bot_on(store, Reader(), room_url=ROOM) as rig:
        await anyio.sleep(10)
        store.hang() if fault == "hangs" else store.fail_with(AWAY)
        before = rig.link.counts["batches"]
        await anyio.sleep(120)
        assert rig.link.counts["batches"] - before < 120 * 5


async def test_an_outage_is_told_once_and_its_end_is_told_once():
    store, main = MemoryStore(), Reader()
    with logged() as lines:
        async with bot_on(store, main, room_url=ROOM) as rig:
            await rig.client.send("bot", "wait")
            await main.handling.wait()
            del lines[:]
            store.fail_with(AWAY)
            await anyio.sleep(1)
            main.go_on.set()
            await anyio.sleep(60)
            store.heal()
            await anyio.sleep(10)
            about = [line for line in lines if "-admin]" in line]
    assert about == [
        "ERROR [memory-admin] The inbox of bot bot cannot reach its queues: StoreUnavailable: no disk",
        "INFO [memory-admin] The inbox of bot bot reaches its queues again",
    ]


@pytest.mark.parametrize("error", [AWAY, ZeroDivisionError()])
async def test_one_queue_that_fails_holds_the_others_up_in_nothing(error):
    main = Reader()
    with logged() as lines:
        async with bot_on(MemoryStore(), main, room_url=ROOM) as rig:
            await anyio.sleep(1)
            rig.link.errors[Queue("room", ROOM)] = error
            for number in range(3):
                await rig.client.send("bot", str(number), wait=2)
            await anyio.sleep(60)
            await rig.client.send("bot", "later", wait=2)
            assert rig.supervisor.core.ledger.restarts() == 0
            rig.link.errors.clear()
            await rig.client.send(ROOM, "recovered", wait=6)
    assert main.texts == ["0", "1", "2", "later", "recovered"]
    assert len([line for line in lines if " its queues" in line]) == 2


async def test_a_parked_backend_is_waited_for_in_peace():
    store, main = MemoryStore(), Reader()
    with logged() as lines:
        async with bot_on(store, main) as rig:
            await rig.client.send("bot", "wait")
            await main.handling.wait()
            for _ in range(6):
                crash(rig.bot, "backend")
                await anyio.sleep(5)
            del lines[:]
            main.go_on.set()
            await store.execute([PushMessage(own_queue(), "later", b'{"message": "later"}')])
            await anyio.sleep(20)
            assert len(lines) < 10
            await until(lambda: is_settled(store), within=60)
    assert main.texts == ["wait", "later"]


async def test_quarantine_is_tried_again_when_the_store_was_away():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        times_away = 5

        async def pass_on(moment, commands):
            nonlocal times_away
            away = moment == "asked" and times_away and any(isinstance(c, BuryMessage) for c in commands)
            times_away -= bool(away)
            store.fail_with(AWAY if away else None)

        rig.link.pass_on = pass_on
        await rig.client.send("bot", {"id": "silent", "message": "x"})
        await store.execute([PushMessage(own_queue(), "silent", b'{"id": "no text"}')])
        await until(lambda: store.queue(own_queue()).quarantined)
        await rig.client.send("bot", "good", wait=5)
    assert main.texts == ["x", "good"]


@pytest.mark.parametrize("fault", ["fails", "hangs"])
async def test_a_stop_is_bounded_while_the_store_is_away(fault):
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        store.hang() if fault == "hangs" else store.fail_with(AWAY)
        main.go_on.set()
        began = anyio.current_time()
        await rig.handle.stop("the test")
        assert anyio.current_time() - began < 20
    store.heal()
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]


async def test_a_stop_right_after_an_outage_still_tells_what_was_handled():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        receipt = await rig.client.send("bot", "wait")
        await main.handling.wait()
        rig.link.errors[own_queue()] = AWAY
        main.go_on.set()
        await anyio.sleep(1)
        rig.link.errors.clear()
        await rig.handle.stop("the test")
        assert (await rig.client.receipt(receipt)).state == "handled"
