"""The start of a bot under its supervisor: what a failed one leaves behind, and what it does not need."""

import anyio
import pytest

from botvisor import Policy, open_supervisor
from botvisor.errors import StartFailed, StoreUnavailable
from botvisor.logs import Log
from botvisor.testing import MemoryDoorbell, crash

from .fleet import ROOM, held_leases, in_memory, settings_in, until_stopped


class Broken(MemoryDoorbell):
    """A doorbell that lets no inbox start."""

    def subscribe(self, target, ring):
        raise OSError("no bell")


class Diary(Log):
    """A log that keeps the lifecycle events."""

    def __init__(self):
        super().__init__("memory")
        self.events = []

    def event(self, event):
        self.events.append((type(event).__name__, event.child))


async def test_a_failed_start_is_unwound_and_names_the_child(tmp_path):
    settings = settings_in(tmp_path)
    settings.heartbeat_dir.mkdir()
    settings.heartbeat_dir.chmod(0o777)
    async with open_supervisor(settings) as supervisor:
        with pytest.raises(StartFailed, match="chmod 700") as caught:
            await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
        assert caught.value.child == "ada/heartbeat"
        assert supervisor.core.names() == ["backend", "doorbell", "watchdog"]
        assert await held_leases(settings) == []
        settings.heartbeat_dir.chmod(0o700)
        assert (await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_what_had_started_is_stopped_in_reverse_order():
    async with in_memory(doorbell=Broken, log=(diary := Diary())) as fleet:
        with pytest.raises(StartFailed, match="ada/inbox did not start: OSError: no bell"):
            await fleet.start_bot(until_stopped, bot_id="ada")
        assert [event for event in diary.events if event[1].startswith("ada")] == [
            ("ChildStarted", "ada/identity"),
            ("ChildStarted", "ada/heartbeat"),
            ("ChildStopped", "ada/heartbeat"),
            ("ChildStopped", "ada/identity"),
        ]


@pytest.mark.virtual_time
async def test_main_never_runs_if_an_actor_did_not_start():
    ran = []

    async def main():
        ran.append(1)

    async with in_memory(doorbell=Broken) as fleet:
        with pytest.raises(StartFailed):
            await fleet.start_bot(main, bot_id="ada")
    assert ran == []


@pytest.mark.virtual_time
async def test_a_bot_that_did_not_start_says_so_in_its_last_words():
    async with in_memory(doorbell=Broken) as fleet:
        with pytest.raises(StartFailed):
            await fleet.start_bot(until_stopped, bot_id="ada")
        beat = await fleet.client.heartbeat("ada")
    assert (beat.status, beat.epitaph["reason"]) == ("stopped", "it did not start")
    assert "no bell" in beat.epitaph["exit"]


@pytest.mark.virtual_time
async def test_an_actor_that_is_not_ready_in_time_fails_the_start_within_its_limit():
    async with in_memory() as fleet:
        await fleet.start_bot(until_stopped)
        fleet.store.slow(100)
        began = anyio.current_time()
        with pytest.raises(StartFailed, match=r"ada/heartbeat did not start: StartTimeout"):
            await fleet.start_bot(until_stopped, bot_id="ada", policy=Policy(start_timeout=1))
        fleet.store.heal()
        assert anyio.current_time() - began < 30


@pytest.mark.virtual_time
async def test_a_bot_whose_inbox_is_gone_gives_its_leases_up_all_the_same():
    async with in_memory() as fleet:
        handle = await fleet.start_bot(until_stopped, bot_id="ada", policy=Policy(intensity=0))
        crash(handle.bot, "inbox")
        await anyio.sleep(1)
        await handle.stop()
        assert (await fleet.start_bot(until_stopped, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_a_bot_starts_and_runs_though_the_store_is_away():
    async with in_memory() as fleet:
        fleet.store.fail_with(StoreUnavailable("no disk"))
        handle = await fleet.start_bot(until_stopped, bot_id="ada")
        await anyio.sleep(60)
        fleet.store.heal()
        await anyio.sleep(20)
        assert (await fleet.client.heartbeat("ada")).status == "healthy"
        await handle.stop()
        assert await handle.wait() == "ada"
