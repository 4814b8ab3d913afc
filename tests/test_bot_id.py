"""Ids of bots: given, configured or derived, and the queues that go with them."""

import contextlib
import os
import socket
import threading

import anyio
import pytest

from botvisor import Settings, open_bot
from botvisor import bot_id as ids
from botvisor.errors import BotIdTaken, StartFailed, StoreUnavailable, UnsafeDirectory
from botvisor.process import host, new_instance, own
from botvisor.store import AcquireLease, Queue
from botvisor.testing import MemoryStore

from .fleet import in_memory, until_stopped

ROOM = "https://Example.test/room/?x=1"
CANONICAL = "https://example.test/room"

pytestmark = pytest.mark.virtual_time


@contextlib.asynccontextmanager
async def bots(store=None, **settings):
    """Starts bots, and returns their ids."""
    async with in_memory(store, **settings) as fleet:

        async def start(bot_id=None):
            return (await fleet.start_bot(until_stopped, bot_id=bot_id)).id

        yield start


async def hold(store, bot_id, **differently):
    """Let another process have an id."""
    owner = own(bot_id, new_instance())
    owner = type(owner)(**{name: getattr(owner, name) for name in owner.__struct_fields__} | differently)
    assert await store.execute([AcquireLease(Queue("bot", bot_id), owner)]) == [None]


@pytest.fixture(autouse=True)
def _outside_of_kubernetes(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


async def test_a_given_id_is_taken_as_it_is():
    async with bots(bot_id="configured") as start:
        assert await start("ada") == "ada"


async def test_the_configured_id_comes_next():
    async with bots(bot_id="configured") as start:
        assert await start() == "configured"


async def test_the_pid_comes_last():
    async with bots() as start:
        assert await start() == str(os.getpid())


async def test_further_bots_of_a_process_are_numbered():
    async with bots(bot_id="ada") as start:
        assert [await start() for _ in range(3)] == ["ada", "ada.2", "ada.3"]
    async with bots() as start:
        pid = os.getpid()
        assert [await start() for _ in range(3)] == [f"{pid}", f"{pid}.2", f"{pid}.3"]


async def test_bots_of_another_supervisor_in_the_process_count_too():
    store = MemoryStore()
    async with bots(store, bot_id="ada") as start, bots(store, bot_id="ada") as start_elsewhere:
        assert [await start(), await start_elsewhere(), await start()] == ["ada", "ada.2", "ada.3"]


async def test_a_number_that_is_free_again_is_given_again():
    store = MemoryStore()
    async with bots(store, bot_id="ada") as start:
        await start()
        async with bots(store, bot_id="ada") as start_elsewhere:
            assert await start_elsewhere() == "ada.2"
        assert await start() == "ada.2"


@pytest.mark.parametrize("why", ["kubernetes", "pid 1"])
async def test_where_a_pid_says_nothing_the_host_is_in_the_id(monkeypatch, why):
    if why == "kubernetes":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    else:
        monkeypatch.setattr(os, "getpid", lambda: 1)
    async with bots() as start:
        assert [await start(), await start()] == [f"{host()}-{os.getpid()}", f"{host()}-{os.getpid()}.2"]


async def test_a_pid_that_another_process_has_gives_way_to_host_and_pid():
    store, pid = MemoryStore(), os.getpid()
    await hold(store, str(pid), host="elsewhere", boot_id="another", start_ticks=1)
    async with bots(store) as start:
        assert await start() == f"{host()}-{pid}"


async def test_a_host_whose_name_no_id_can_hold_is_rewritten(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(socket, "gethostname", lambda: "my host/ü" + "x" * 200)
    host.cache_clear()
    try:
        async with bots() as start:
            bot_id = await start()
    finally:
        host.cache_clear()
    assert bot_id.startswith("my-host--xxx")
    assert bot_id.endswith(f"-{os.getpid()}")


@pytest.mark.parametrize("how", ["given", "configured"])
async def test_an_id_that_another_process_has_is_refused_naming_it(how):
    store = MemoryStore()
    await hold(store, "ada", pid=4711, host="elsewhere", start_ticks=1)
    async with bots(store, bot_id="ada" if how == "configured" else None) as start:
        with pytest.raises(BotIdTaken, match="process 4711 on elsewhere") as caught:
            await start("ada" if how == "given" else None)
        assert caught.value.bot_id == "ada"


async def test_a_given_id_that_this_supervisor_has_is_refused():
    async with bots() as start:
        await start("ada")
        with pytest.raises(BotIdTaken, match="another bot of this process"):
            await start("ada")


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "ü", "x" * 129, "a\n"])
async def test_what_is_no_id_is_refused(bad):
    async with bots() as start:
        with pytest.raises(ValueError, match="a bot id is 1 to 128"):
            await start(bad)


async def test_a_configured_id_too_long_to_be_numbered_is_refused():
    async with bots(bot_id="x" * 128) as start:
        assert await start() == "x" * 128
        with pytest.raises(ValueError, match="a bot id is 1 to 128"):
            await start()


async def test_a_refused_id_can_be_asked_for_again():
    store = MemoryStore()
    async with bots(store) as start:
        store.fail_with(UnsafeDirectory("/tmp/x", "is open to all", "close it"))
        with pytest.raises(
            StartFailed, match=r"ada/inbox did not start: UnsafeDirectory: /tmp/x is open to all"
        ):
            await start("ada")
        store.heal()
        assert await start("ada") == "ada"


async def test_a_bot_starts_though_nobody_can_say_whether_its_id_is_free():
    store = MemoryStore()
    async with bots(store) as start:
        store.fail_with(StoreUnavailable("no disk"))
        assert await start("ada") == "ada"


async def test_a_search_for_an_id_that_is_cancelled_gives_the_lease_up():
    store = MemoryStore()
    async with bots(store) as start:
        store.slow(0.5)
        with anyio.move_on_after(0.2):
            await start("ada")
        await anyio.sleep(2)
        store.heal()
        await hold(store, "ada")


def test_a_bot_serves_its_id_its_pid_and_its_room():
    owner = own("ada", new_instance())
    assert ids.queues(owner, ROOM, Settings()) == [
        Queue("bot", "ada"),
        Queue("bot", str(os.getpid())),
        Queue("room", ROOM),
        Queue("room", CANONICAL),
        Queue("pre-spawn", CANONICAL),
    ]


def test_without_a_room_there_are_no_room_queues():
    owner = own(str(os.getpid()), new_instance())
    assert ids.queues(owner, "", Settings()) == [Queue("bot", str(os.getpid()))]


def test_a_room_whose_url_is_canonical_already_is_served_once():
    owner = own(str(os.getpid()), new_instance())
    assert ids.queues(owner, CANONICAL, Settings())[1:] == [
        Queue("room", CANONICAL),
        Queue("pre-spawn", CANONICAL),
    ]


def test_the_case_of_a_path_counts_unless_the_settings_say_otherwise():
    owner = own("ada", new_instance())
    found = ids.queues(owner, "https://example.test/Room", Settings(canonicalize_lower_path=True))
    assert found[-1] == Queue("pre-spawn", CANONICAL)


def test_the_queue_of_pid_1_is_not_served(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert ids.queues(own("ada", new_instance()), "", Settings()) == [Queue("bot", "ada")]


def test_two_threads_with_a_loop_each_get_two_ids(tmp_path):
    settings = Settings(
        admin_message_dir=tmp_path / "a",
        heartbeat_dir=tmp_path / "h",
        identity_dir=tmp_path / "i",
        bot_id="ada",
    )
    both, seen = threading.Barrier(2), []

    async def serve():
        async with open_bot(settings=settings) as bot:
            seen.append(bot.id)
            await anyio.to_thread.run_sync(both.wait, 10)

    threads = [threading.Thread(target=anyio.run, args=[serve]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(seen) == ["ada", "ada.2"]
