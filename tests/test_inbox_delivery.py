"""What the inbox does while its actor or its doorbell fails: nothing is lost, nothing comes twice."""

import anyio
import pytest

from botvisor.actors.backend.doorbell import SpoolDoorbell
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.restart import Policy
from botvisor.store import AcquireLease, NextMessage, PushMessage, TakeControl
from botvisor.testing import MemoryDoorbell, MemoryStore, crash
from botvisor.testing.clock import virtual_time

from .bot_rig import ROOM, Reader, bot_on, is_settled, own_queue, send_all, until

virtual = pytest.mark.virtual_time
native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])
PATIENT = Policy(restart="transient", intensity=50, base=0.1, cap=0.1)


class Silent(MemoryDoorbell):
    """A doorbell that rings nobody."""

    async def run(self, started):
        started()
        await anyio.sleep_forever()


class Counting(MemoryDoorbell):
    """A doorbell that knows how many have subscribed."""

    subscribed = 0

    def subscribe(self, target, ring):
        self.subscribed += 1
        end = super().subscribe(target, ring)

        def unsubscribe():
            self.subscribed -= 1
            end()

        return unsubscribe


# The actor.


@virtual
async def test_a_crash_of_the_inbox_is_invisible_to_its_reader():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, room_url=ROOM) as rig:
        for _ in range(3):
            crash(rig.bot, "inbox")
            await send_all(rig)
            await until(lambda: is_settled(store))
    assert len(main.seen) == 18
    assert not any(m.redelivered for m in main.seen)


@virtual
async def test_what_main_handles_while_the_inbox_is_down_is_acknowledged_later():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, policy=Policy(base=5, cap=5, jitter=0)) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        crash(rig.bot, "inbox")
        await anyio.sleep(0.1)
        main.go_on.set()
        await anyio.sleep(1)
        assert not is_settled(store)
        await until(lambda: is_settled(store), within=10)
    assert main.texts == ["wait"]


async def interrupted(interrupt, moment, at):
    """Interrupt a bot at some calls of its inbox to the store; see that it makes no difference."""
    store, main, calls = MemoryStore(), Reader(), 0
    async with bot_on(store, main, room_url=ROOM, policy=PATIENT) as rig:

        async def pass_on(now, commands):
            nonlocal calls
            if now == moment and any(
                isinstance(c, (AcquireLease, NextMessage, TakeControl)) for c in commands
            ):
                calls += 1
                if calls in at:
                    interrupt(rig)
                    await anyio.sleep(0.01)  # the actor is gone before the store goes on

        rig.link.pass_on = pass_on
        await send_all(rig)
        await until(lambda: is_settled(store))
        await anyio.sleep(10)
    assert calls >= max(at)
    assert sorted(main.texts) == [str(number) for number in range(6)]
    assert not any(m.redelivered for m in main.seen)


@virtual
@pytest.mark.parametrize("moment", ["asked", "answered"])
async def test_an_inbox_may_be_restarted_at_any_call_to_the_store(moment):
    for number in range(1, 8):
        await interrupted(lambda rig: rig.restart("inbox"), moment, {number})
        await interrupted(lambda rig: rig.restart("inbox"), moment, {number, number + 1, number + 3})


@native
@pytest.mark.parametrize("moment", ["asked", "answered"])
async def test_an_inbox_may_be_cancelled_by_anybody_at_any_call_to_the_store(moment):
    for number in range(1, 8):
        await interrupted(lambda rig: rig.cancel_natively("inbox"), moment, {number, number + 2})


@virtual
@pytest.mark.parametrize("moment", ["asked", "answered"])
async def test_the_backend_may_be_restarted_at_any_call_of_the_inbox(moment):
    for number in range(1, 8):
        await interrupted(lambda rig: rig.supervisor.core.restart("backend"), moment, {number})


@virtual
async def test_crashes_leave_no_subscriptions_behind():
    store = MemoryStore()
    bell = Counting(store)
    async with bot_on(store, Reader(), room_url=ROOM, doorbell=bell, policy=PATIENT) as rig:
        before = bell.subscribed
        for _ in range(5):
            crash(rig.bot, "inbox")
            await anyio.sleep(1)
        assert bell.subscribed == before == len(rig.bot.inbox.lanes) + 1
    assert bell.subscribed == 0


# The doorbell.


@virtual
async def test_a_bell_that_rings_while_the_store_is_asked_is_heard():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main) as rig:

        async def pass_on(moment, commands):
            if moment == "answered" and any(isinstance(c, NextMessage) for c in commands) and main.seen:
                rig.link.pass_on = None  # the store has found nothing more: now something comes
                await store.execute([PushMessage(own_queue(), "late", b'{"message": "late"}')])

        rig.link.pass_on = pass_on
        await rig.client.send("bot", "first")
        await until(lambda: main.texts == ["first", "late"], within=1)


@virtual
async def test_without_its_doorbell_a_message_is_late_and_not_lost():
    store, main = MemoryStore(), Reader()
    async with bot_on(store, main, doorbell=Silent(store)) as rig:
        await anyio.sleep(1)
        await rig.client.send("bot", "hello")
        await until(lambda: main.seen, within=10)


# Files, in real time.


@pytest.fixture
def files(tmp_path):
    return Settings(
        admin_message_dir=tmp_path / "admin",
        heartbeat_dir=tmp_path / "heartbeats",
        identity_dir=tmp_path / "identities",
    )


def on_files(settings, main, **options):
    store = FileStore(settings)
    return bot_on(store, main, settings=settings, doorbell=SpoolDoorbell(store.spool), **options)


async def test_files_bring_every_message_to_main_through_crashes(files):
    main = Reader(**{"3": 1})
    async with on_files(files, main, policy=PATIENT) as rig:
        for number in range(8):
            await rig.client.send("bot", str(number))
            crash(rig.bot, ("inbox", "identity", "heartbeat")[number % 3])
        receipt = await rig.client.send("bot", "last", wait=10)
    assert receipt.state == "handled"
    assert [(m.text, m.redelivered) for m in main.seen if m.redelivered] == [("3", True)]
    assert list(dict.fromkeys(main.texts)) == [*map(str, range(8)), "last"]
    assert not list(files.admin_message_dir.glob("*.json"))


async def test_files_bring_the_successor_of_a_killed_bot_what_it_had_not_handled(files):
    first, second = Reader(), Reader()
    async with on_files(files, first, grace=0) as rig:
        await rig.client.send("bot", "done")
        receipt = await rig.client.send("bot", "wait")
        await first.handling.wait()
        assert (await rig.client.receipt(receipt)).state == "delivered"
        rig.link.cut()
        rig.link.store.close()
        async with on_files(files, second) as successor:
            await until(lambda: second.seen, within=10)
            second.go_on.set()
            await successor.client.send("bot", "new", wait=10)
        rig.link.join()
    assert first.texts == ["done", "wait"]
    assert [(m.text, m.redelivered, m.tries) for m in second.seen] == [("wait", True, 2), ("new", False, 1)]
