"""When a message is done, when it comes again, and how it ends."""

import anyio
import pytest

from botvisor.restart import Policy
from botvisor.store import Queue
from botvisor.testing import MemoryStore

from .bot_rig import ROOM, Reader, bot_on, logged, own_queue, until

pytestmark = pytest.mark.virtual_time

TRANSIENT = Policy(restart="transient")


async def test_a_message_is_handled_once_its_reader_asks_for_the_next():
    main = Reader()
    async with bot_on(MemoryStore(), main) as rig:
        receipt = await rig.client.send("bot", "wait")
        await main.handling.wait()
        assert (await rig.client.receipt(receipt)).state == "delivered"
        main.go_on.set()
        await anyio.sleep(0.1)
        assert (await rig.client.receipt(receipt)).state == "handled"


async def test_a_message_is_handled_when_main_ends():
    store = MemoryStore()
    async with bot_on(store, Reader()) as rig:
        await rig.client.send("bot", "end")
        await rig.handle.wait()
    assert store.queue(own_queue()).messages() == []


async def test_a_message_is_not_handled_when_main_fails():
    store = MemoryStore()
    async with bot_on(store, Reader(bad=1)) as rig:
        await rig.client.send("bot", "bad")
        with pytest.raises(ValueError, match="bad"):
            await rig.handle.wait()
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]


async def test_the_successor_gets_what_main_left_unhandled_marked():
    store, successor = MemoryStore(), Reader()
    async with bot_on(store, Reader(bad=1)) as rig:
        await rig.client.send("bot", "bad")
        with pytest.raises(ValueError, match="bad"):
            await rig.handle.wait()
    async with bot_on(store, successor):
        await until(lambda: successor.seen)
    assert [(m.redelivered, m.tries) for m in successor.seen] == [(True, 2)]


async def test_a_restarted_main_gets_its_unfinished_message_again():
    main = Reader(bad=1)
    async with bot_on(MemoryStore(), main, policy=TRANSIENT) as rig:
        await rig.client.send("bot", "bad")
        await rig.client.send("bot", "good", wait=30)
    assert [(m.text, m.redelivered, m.tries) for m in main.seen] == [
        ("bad", False, 1),
        ("bad", True, 2),
        ("good", False, 1),
    ]


async def test_after_three_tries_a_message_is_a_dead_letter_and_the_next_one_comes():
    store, main = MemoryStore(), Reader(bad=99)
    with logged() as lines:
        async with bot_on(store, main, policy=TRANSIENT) as rig:
            receipt = await rig.client.send("bot", "bad")
            await rig.client.send("bot", "good", wait=60)
            assert (await rig.client.receipt(receipt)).state == "dead"
            (letter,) = await rig.client.messages("bot")
    assert main.texts == ["bad", "bad", "bad", "good"]
    assert (letter.state, letter.tries, letter.reason) == ("dead", 3, "not handled in 3 tries")
    assert f"ERROR [memory-admin] Gave {receipt.id} of bot bot up after 3 tries" in lines


async def test_a_message_that_comes_while_nobody_reads_waits_for_the_next_reader():
    seen = []

    async def main(bot):
        await anyio.sleep(10)
        seen.append((await anext(bot.inbox)).text)

    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "early")
        await rig.handle.wait()
    assert seen == ["early"]


async def test_a_reader_that_stops_waiting_misses_nothing():
    seen = []

    async def main(bot):
        while len(seen) < 20:
            with anyio.move_on_after(0.013):
                seen.append((await anext(bot.inbox)).text)

    async with bot_on(MemoryStore(), main) as rig:
        for number in range(20):
            await rig.client.send("bot", str(number))
            await anyio.sleep(0.01)
        with anyio.fail_after(5):
            await rig.handle.wait()
    assert seen == [str(number) for number in range(20)]


# The end.


async def test_the_iteration_ends_when_the_bot_stops():
    main = Reader()
    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "hello", wait=5)
        await rig.handle.stop("the test")
        assert rig.handle.outcome.exit_text() == "returned"


async def test_who_reads_on_after_the_end_does_not_freeze_the_event_loop():
    async def main(bot):
        while True:
            async for _ in bot.inbox:
                pass

    async with bot_on(MemoryStore(), main, grace=0) as rig:
        with anyio.fail_after(30):
            await rig.handle.stop("the test")
    assert rig.handle.outcome.cancelled


async def test_a_stop_puts_what_nobody_was_shown_back_at_the_head():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, room_url=ROOM, grace=0) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        for text in ("first", "second"):
            await rig.client.send(ROOM, text)
        await anyio.sleep(1)
    waiting = store.queue(Queue("room", ROOM)).messages()
    assert [(b"first" in m.raw, m.state, m.tries) for m in waiting] == [
        (True, "stored", 0),
        (False, "stored", 0),
    ]


async def test_a_stop_leaves_what_main_was_cancelled_in_in_flight():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, grace=0) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
    assert [(m.state, m.tries) for m in store.queue(own_queue()).messages()] == [("delivered", 1)]


async def test_nothing_is_claimed_once_a_bot_is_to_stop():
    main = Reader()

    async def lingering(bot):
        await main(bot)
        await anyio.sleep(2)

    async with bot_on(MemoryStore(), lingering, room_url=ROOM) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        rig.handle.request_stop("the test")
        receipts = [await rig.client.send(target, "too late") for target in ("bot", ROOM)]
        await anyio.sleep(1)
        main.go_on.set()
        await anyio.sleep(1)
        assert [(await rig.client.receipt(receipt)).state for receipt in receipts] == ["stored"] * 2
        await rig.handle.finished.wait()
    assert main.texts == ["wait"]


async def test_the_last_message_is_acknowledged_before_a_stop_is_over():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:
        receipt = await rig.client.send("bot", "wait")
        await main.handling.wait()
        rig.handle.request_stop("the test")
        await anyio.sleep(1)
        main.go_on.set()
        await rig.handle.finished.wait()
        assert (await rig.client.receipt(receipt)).state == "handled"
