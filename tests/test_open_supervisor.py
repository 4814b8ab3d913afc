"""Many bots under one supervisor, started and stopped together."""

import time

import anyio
import pytest

from botvisor import open_client, open_supervisor
from botvisor.errors import BotIdTaken, StartFailed, SupervisorStopped
from botvisor.store import WriteHeartbeat
from botvisor.testing import MemoryStore, crash

from .fleet import ROOM, held_leases, in_memory, settings_in, until_stopped


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


async def sleeps():
    await anyio.sleep_forever()


async def test_bots_run_side_by_side_on_files(settings):
    async with open_supervisor(settings) as supervisor:
        handles = [
            await supervisor.start_bot(until_stopped, room_url=f"{ROOM}{n}", bot_id=f"b{n}") for n in range(3)
        ]
        healthy = dict.fromkeys(["b0", "b1", "b2"], "healthy")
        async with open_client(settings) as client:
            with anyio.fail_after(10):  # each is seen to start first
                while {beat.bot_id: beat.status for beat in await client.heartbeats()} != healthy:
                    await anyio.sleep(0.01)
        for handle in handles:
            await handle.stop()
        assert [await handle.wait() for handle in handles] == ["b0", "b1", "b2"]


async def test_leaving_the_block_stops_every_bot_and_gives_its_leases_up(settings):
    async with open_supervisor(settings) as supervisor:
        handle = await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
    assert handle.finished.is_set()
    assert await held_leases(settings) == []
    async with open_supervisor(settings) as supervisor:
        assert (await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_bots_are_stopped_at_the_same_time():
    began = anyio.current_time()
    async with in_memory() as fleet:
        for _ in range(10):
            await fleet.start_bot(sleeps, grace=60)
    assert anyio.current_time() - began == pytest.approx(60, abs=1)


@pytest.mark.virtual_time
async def test_one_backend_serves_all_in_batches():
    sizes = []

    class Counting(MemoryStore):
        async def execute(self, commands):
            sizes.append(len([c for c in commands if isinstance(c, WriteHeartbeat)]))
            await anyio.sleep(0.01)
            return await super().execute(commands)

    async with in_memory(Counting()) as fleet:
        for _ in range(50):
            await fleet.start_bot(until_stopped)
        await anyio.sleep(1)  # until each has told that it runs
        sizes.clear()
        await anyio.sleep(10)
        # Leases may be due in the same moment.
        assert sum(sizes) == 50
        assert len([size for size in sizes if size]) <= 3


async def test_an_error_in_the_block_comes_out_bare_after_the_bots_were_stopped(settings):
    error, handles = ValueError("boom"), []

    async def fail():
        async with open_supervisor(settings) as supervisor:
            handles.append(await supervisor.start_bot(until_stopped))
            raise error

    with pytest.raises(ValueError, match="boom") as caught:
        await fail()
    assert caught.value is error
    assert error.__context__ is None
    assert handles[0].outcome.value == handles[0].id


async def test_an_errors_own_cause_is_kept(settings):
    cause = KeyError("first")
    with pytest.raises(ValueError, match="second") as caught:
        async with open_supervisor(settings):
            raise ValueError("second") from cause
    assert caught.value.__cause__ is cause


async def test_a_group_of_the_blocks_own_stays_whole(settings):
    group = ExceptionGroup("of mine", [ValueError("only one")])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_supervisor(settings):
            raise group
    assert repr(caught.value) == repr(group)  # trio makes a copy of it


async def test_an_unsafe_directory_fails_the_start_with_the_remedy(settings):
    settings.admin_message_dir.mkdir()
    settings.admin_message_dir.chmod(0o777)
    with pytest.raises(StartFailed, match="chmod 700") as caught:
        async with open_supervisor(settings):
            pass
    assert caught.value.__cause__ is caught.value.cause


@pytest.mark.virtual_time
async def test_an_id_is_free_again_once_its_bot_has_ended():
    async with in_memory() as fleet:
        for _ in range(3):
            handle = await fleet.start_bot(until_stopped, bot_id="ada")
            with pytest.raises(BotIdTaken, match="another bot of this process"):
                await fleet.start_bot(until_stopped, bot_id="ada")
            await handle.stop()


@pytest.mark.virtual_time
async def test_a_supervisor_that_was_closed_starts_nothing_more():
    async with in_memory() as fleet:
        pass
    with pytest.raises(SupervisorStopped):
        await fleet.start_bot(until_stopped)


@pytest.mark.virtual_time
async def test_handles_of_bots_that_failed_raise_their_errors_one_by_one():
    async def fails(bot):
        raise ValueError(bot.id)

    async with in_memory() as fleet:
        handles = [await fleet.start_bot(fails, bot_id=name) for name in ("ada", "ben")]
        for handle in handles:
            with pytest.raises(ValueError, match=handle.id):
                await handle.wait()
        assert not fleet.supervisor.ended.is_set()


@pytest.mark.virtual_time
async def test_the_health_of_each_bot_is_its_own():
    async with in_memory() as fleet:
        first = await fleet.start_bot(until_stopped, bot_id="ada")
        await anyio.sleep(20)
        await fleet.start_bot(until_stopped, bot_id="ben")
        crash(first.bot, "heartbeat")
        await anyio.sleep(5)
        ada, ben = await fleet.client.heartbeat("ada"), await fleet.client.heartbeat("ben")
        assert (ada.health["restarts"], ben.health["restarts"]) == (1, 0)
        assert [entry["actor"] for entry in ada.health["ledger"]] == ["ada/heartbeat"]
        assert ben.health["ledger"] == []


@pytest.mark.virtual_time
async def test_a_failure_of_the_shared_backend_shows_in_every_bots_health():
    async with in_memory() as fleet:
        handle = await fleet.start_bot(until_stopped, bot_id="ada")
        crash(handle.bot, "backend")
        await anyio.sleep(15)
        beat = await fleet.client.heartbeat("ada")
        assert [entry["actor"] for entry in beat.health["ledger"]] == ["backend"]


@pytest.mark.virtual_time
async def test_a_store_that_hangs_does_not_hold_up_the_end():
    store = MemoryStore()
    began = anyio.current_time()
    async with in_memory(store) as fleet:
        await fleet.start_bot(until_stopped, bot_id="ada")
        store.hang()
    assert anyio.current_time() - began < 60


async def test_each_bot_tells_the_lag_of_the_loop_and_forgets_it_later():
    async with in_memory(heartbeat_interval_s=0.1) as fleet:
        for name in ("ada", "ben"):
            await fleet.start_bot(until_stopped, bot_id=name)

        async def lags_ms():
            await anyio.sleep(0.1)
            return [beat.health["lag_ms"] for beat in await fleet.client.heartbeats()]

        time.sleep(0.5)  # noqa: ASYNC251 - it is what the test is about
        with anyio.fail_after(10):
            while min(await lags_ms()) < 300:
                pass
            while max(await lags_ms()) > 200:
                pass
