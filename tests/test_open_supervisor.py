"""Many bots under one supervisor: started, unwound, stopped together."""

import contextlib

import anyio
import pytest

from botvisor import Policy, Settings, open_client, open_supervisor
from botvisor.actors.backend.files import FileStore
from botvisor.bot_supervisor import BotSupervisor
from botvisor.embed import supervised
from botvisor.errors import BotIdTaken, SettingsError, StartFailed, StoreUnavailable, SupervisorStopped
from botvisor.logs import Log
from botvisor.process import new_instance, own
from botvisor.store import AcquireLease, Queue, WriteHeartbeat
from botvisor.testing import MemoryDoorbell, MemoryStore, crash

ROOM = "https://example.test/room"


@pytest.fixture
def settings(tmp_path):
    return Settings(
        admin_message_dir=tmp_path / "admin",
        heartbeat_dir=tmp_path / "heartbeat",
        identity_dir=tmp_path / "id",
    )


@contextlib.asynccontextmanager
async def in_memory(store=None):
    store = store or MemoryStore()
    supervisor = BotSupervisor(Settings(), store, MemoryDoorbell(store), Log("memory"))
    async with supervised(supervisor):
        supervisor.store = store
        yield supervisor


class Watched:
    """A store round another one, that tells of every command."""

    def __init__(self, store, answer):
        self.store = store
        self.answer = answer

    async def execute(self, commands):
        told = [self.answer(command) for command in commands]
        answers = await self.store.execute(commands)
        return [mine if mine is not None else theirs for mine, theirs in zip(told, answers, strict=True)]


async def until_stopped(bot):
    await bot.wait_stopping()
    return bot.id


async def sleeps():
    await anyio.sleep_forever()


async def test_bots_run_side_by_side_on_files(settings):
    async with open_supervisor(settings) as supervisor:
        handles = [
            await supervisor.start_bot(until_stopped, room_url=f"{ROOM}{n}", bot_id=f"b{n}") for n in range(3)
        ]
        async with open_client(settings) as client:
            assert {beat.bot_id: beat.status for beat in await client.heartbeats()} == dict.fromkeys(
                ["b0", "b1", "b2"], "healthy"
            )
        for handle in handles:
            await handle.stop()
        assert [await handle.wait() for handle in handles] == ["b0", "b1", "b2"]


async def test_leaving_the_block_stops_every_bot_and_gives_its_leases_up(settings):
    async with open_supervisor(settings) as supervisor:
        handle = await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
    assert handle.finished.is_set()
    assert list(settings.admin_message_dir.glob("*.lock")) == []
    async with open_supervisor(settings) as supervisor:
        assert (await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_bots_are_stopped_at_the_same_time():
    began = anyio.current_time()
    async with in_memory() as supervisor:
        for _ in range(10):
            await supervisor.start_bot(sleeps, grace=60)
    assert anyio.current_time() - began == pytest.approx(60, abs=1)


@pytest.mark.virtual_time
async def test_one_backend_serves_all_in_batches():
    sizes = []

    class Counting(MemoryStore):
        async def execute(self, commands):
            sizes.append(len([c for c in commands if isinstance(c, WriteHeartbeat)]))
            await anyio.sleep(0.01)
            return await super().execute(commands)

    async with in_memory(Counting()) as supervisor:
        for _ in range(50):
            await supervisor.start_bot(until_stopped)
        sizes.clear()
        await anyio.sleep(11)
        assert max(sizes) == 50


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


async def test_redis_is_refused_by_name(settings):
    with pytest.raises(SettingsError, match="USE_REDIS"):
        async with open_supervisor(Settings(use_redis=True)):
            pass


async def test_a_failed_start_is_unwound_and_names_the_child(settings):
    settings.heartbeat_dir.mkdir()
    settings.heartbeat_dir.chmod(0o777)
    async with open_supervisor(settings) as supervisor:
        with pytest.raises(StartFailed, match="chmod 700") as caught:
            await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
        assert caught.value.child == "ada/heartbeat"
        assert supervisor.core.names() == ["backend", "doorbell"]
        assert list(settings.admin_message_dir.glob("*.lock")) == []
        settings.heartbeat_dir.chmod(0o700)
        assert (await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_what_had_started_is_stopped_in_reverse_order():
    class Broken(MemoryDoorbell):
        def subscribe(self, target, ring):
            raise OSError("no bell")

    store, events = MemoryStore(), []
    supervisor = BotSupervisor(Settings(), store, Broken(store), Log("memory"))
    supervisor.core._life._emit = events.append
    async with supervised(supervisor):
        with pytest.raises(StartFailed, match="ada/inbox did not start: OSError: no bell"):
            await supervisor.start_bot(until_stopped, bot_id="ada")
        assert [(type(e).__name__, e.child) for e in events if e.child.startswith("ada")] == [
            ("ChildStarted", "ada/identity"),
            ("ChildStarted", "ada/heartbeat"),
            ("ChildStopped", "ada/heartbeat"),
            ("ChildStopped", "ada/identity"),
        ]


@pytest.mark.virtual_time
async def test_a_bot_that_did_not_start_says_so_in_its_last_words():
    class Broken(MemoryDoorbell):
        def subscribe(self, target, ring):
            raise OSError("no bell")

    store = MemoryStore()
    supervisor = BotSupervisor(Settings(), store, Broken(store), Log("memory"))
    async with supervised(supervisor):
        with pytest.raises(StartFailed):
            await supervisor.start_bot(until_stopped, bot_id="ada")
        async with clients_of(supervisor) as client:
            beat = await client.heartbeat("ada")
    assert (beat.status, beat.epitaph["reason"]) == ("stopped", "it did not start")
    assert "no bell" in beat.epitaph["exit"]


@contextlib.asynccontextmanager
async def clients_of(supervisor):
    from botvisor import Client

    yield Client(supervisor.backend, supervisor.settings, supervisor.log)


@pytest.mark.virtual_time
async def test_a_bot_whose_inbox_is_gone_gives_its_leases_up_all_the_same():
    async with in_memory() as supervisor:
        policy = Policy(intensity=0)
        handle = await supervisor.start_bot(until_stopped, bot_id="ada", policy=policy)
        crash(handle.bot, "inbox")
        await anyio.sleep(1)
        await handle.stop()
        assert (await supervisor.start_bot(until_stopped, bot_id="ada")).id == "ada"


@pytest.mark.virtual_time
async def test_an_id_is_free_again_once_its_bot_has_ended():
    async with in_memory() as supervisor:
        for _ in range(3):
            handle = await supervisor.start_bot(until_stopped, bot_id="ada")
            with pytest.raises(BotIdTaken, match="another bot of this process"):
                await supervisor.start_bot(until_stopped, bot_id="ada")
            await handle.stop()


@pytest.mark.virtual_time
async def test_a_supervisor_that_was_closed_starts_nothing_more():
    async with in_memory() as supervisor:
        pass
    with pytest.raises(SupervisorStopped):
        await supervisor.start_bot(until_stopped)


@pytest.mark.virtual_time
async def test_a_bot_that_starts_while_the_supervisor_closes_is_unwound():
    for steps in range(60):
        results = []

        async def start(supervisor, results):
            try:
                results.append(await supervisor.start_bot(until_stopped, bot_id="ada"))
            except SupervisorStopped as error:
                results.append(error)

        async with anyio.create_task_group() as group:
            async with in_memory() as supervisor:
                group.start_soon(start, supervisor, results)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
            assert supervisor.core.names() == []
        assert len(results) == 1
        assert isinstance(results[0], SupervisorStopped) or results[0].outcome.value == "ada"
        assert await held_leases(supervisor.store) == []


async def held_leases(store):
    """The queues that somebody still holds."""
    stranger = own("stranger", new_instance())
    queues = [Queue("bot", "ada"), Queue("room", ROOM), Queue("pre-spawn", ROOM)]
    answers = await store.execute([AcquireLease(queue, stranger) for queue in queues])
    return [queue for queue, answer in zip(queues, answers, strict=True) if answer is not None]


@pytest.mark.virtual_time
async def test_a_start_that_is_cancelled_at_any_moment_leaves_nothing_behind():
    started = 0
    for steps in range(80):
        handle = None
        async with in_memory() as supervisor:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(cancel_after, steps, scope)
                    handle = await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
            if handle is not None:
                started += 1
                await handle.stop()
            assert supervisor.core.names() == ["backend", "doorbell"]
            assert await held_leases(supervisor.store) == []
    assert 0 < started < 80


async def cancel_after(steps, scope):
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_block_that_is_cancelled_at_any_moment_leaves_nothing_behind(settings):
    for steps in [*range(12), 15, 20, 30, 50, 80, 120, 500]:
        with anyio.fail_after(20), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_after, steps, scope)
                async with open_supervisor(settings) as supervisor:
                    await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
                    await anyio.sleep_forever()
        assert scope.cancelled_caught
        store = FileStore(settings)
        assert await held_leases(store) == []
        store.close()


@pytest.mark.virtual_time
async def test_handles_of_bots_that_failed_raise_their_errors_one_by_one():
    async def fails(bot):
        raise ValueError(bot.id)

    async with in_memory() as supervisor:
        handles = [await supervisor.start_bot(fails, bot_id=name) for name in ("ada", "ben")]
        for handle in handles:
            with pytest.raises(ValueError, match=handle.id):
                await handle.wait()
        assert not supervisor.ended.is_set()


@pytest.mark.virtual_time
async def test_the_health_of_each_bot_is_its_own():
    async with in_memory() as supervisor:
        first = await supervisor.start_bot(until_stopped, bot_id="ada")
        await anyio.sleep(20)
        await supervisor.start_bot(until_stopped, bot_id="ben")
        crash(first.bot, "heartbeat")
        await anyio.sleep(5)
        async with clients_of(supervisor) as client:
            ada, ben = await client.heartbeat("ada"), await client.heartbeat("ben")
        assert (ada.health["restarts"], ben.health["restarts"]) == (1, 0)
        assert [entry["actor"] for entry in ada.health["ledger"]] == ["ada/heartbeat"]
        assert ben.health["ledger"] == []


@pytest.mark.virtual_time
async def test_a_failure_of_the_shared_backend_shows_in_every_bots_health():
    async with in_memory() as supervisor:
        handle = await supervisor.start_bot(until_stopped, bot_id="ada")
        crash(handle.bot, "backend")
        await anyio.sleep(15)
        async with clients_of(supervisor) as client:
            assert [e["actor"] for e in (await client.heartbeat("ada")).health["ledger"]] == ["backend"]


@pytest.mark.virtual_time
async def test_a_bot_starts_and_runs_though_the_store_is_away():
    store = MemoryStore()
    async with in_memory(store) as supervisor:
        store.fail_with(StoreUnavailable("no disk"))
        handle = await supervisor.start_bot(until_stopped, bot_id="ada")
        await anyio.sleep(60)
        store.heal()
        await anyio.sleep(20)
        async with clients_of(supervisor) as client:
            assert (await client.heartbeat("ada")).status == "healthy"
        await handle.stop()
        assert await handle.wait() == "ada"


@pytest.mark.virtual_time
async def test_a_store_that_hangs_does_not_hold_up_the_end():
    store = MemoryStore()
    began = anyio.current_time()
    async with in_memory(store) as supervisor:
        await supervisor.start_bot(until_stopped, bot_id="ada")
        store.hang()
    assert anyio.current_time() - began < 60
