"""The spool's doorbell: every arrival is followed by a ring, soon, and silence costs nothing."""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

import anyio
import pytest

from botvisor.actors.backend.doorbell import SpoolDoorbell
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.errors import UnsafeDirectory
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    Done,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReturnMessage,
    TakeControl,
)
from botvisor.testing.memory import MemoryDoorbell, MemoryStore

QUEUE = Queue("bot", "4711")
GOOD = b'{"message": "hello"}'
UNRELATED = 10_000

listed = []
# An audit hook cannot be taken away again: one for all tests of this process.
sys.addaudithook(lambda event, args: event in {"os.listdir", "os.scandir"} and listed.append(str(args[0])))


class Bell:
    """Counts the rings of one subscription, and waits for them."""

    def __init__(self):
        self.count = 0
        self._event = anyio.Event()

    def ring(self):
        self.count += 1
        self._event.set()

    async def rings(self, timeout=10.0):
        """Wait for the next ring since the last one waited for."""
        with anyio.fail_after(timeout):
            await self._event.wait()
        self._event = anyio.Event()


class Files:
    """A file store in the test's own directory, and its doorbell."""

    def __init__(self, root, *, inotify):
        self.admin = root / "admin"
        self.told = []
        self.store = FileStore(
            Settings(admin_message_dir=self.admin, heartbeat_dir=root / "h", identity_dir=root / "i"),
            lambda level, text: self.told.append((level, text)),
        )
        self.doorbell = SpoolDoorbell(self.store.spool, inotify=inotify)

    def drop(self, name, raw=GOOD):
        """Create a file in place, as older writers do."""
        path = self.admin / name
        path.write_bytes(raw)
        return path

    @contextlib.asynccontextmanager
    async def watching(self, *targets):
        """Run the doorbell; yield a bell for each target once it has rung for the start."""
        bells = [Bell() for _ in targets]
        for target, bell in zip(targets, bells, strict=True):
            self.doorbell.subscribe(target, bell.ring)
        async with anyio.create_task_group() as group:
            started = anyio.Event()
            group.start_soon(self.doorbell.run, started.set)
            with anyio.fail_after(10):
                await started.wait()
            for bell in bells:
                await bell.rings()
            yield bells
            group.cancel_scope.cancel()

    async def ask(self, command):
        (answer,) = await self.store.execute([command])
        assert not isinstance(answer, Exception), answer
        return answer

    async def take(self, done=None):
        return await self.ask(NextMessage(QUEUE, "one", "a", done))

    async def lease(self):
        assert await self.ask(AcquireLease(QUEUE, own("4711", "one"))) is None


inotify_only = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(params=[pytest.param(True, marks=inotify_only), False], ids=["inotify", "polling"])
def files(request, tmp_path):
    files = Files(tmp_path, inotify=request.param)
    yield files
    files.store.close()


@pytest.fixture
def watched(tmp_path):
    """Files watched in the best way this system has."""
    files = Files(tmp_path, inotify=True)
    yield files
    files.store.close()


async def test_it_rings_everyone_once_at_the_start(files):
    async with files.watching(QUEUE, Queue("room", "https://example.test/room"), "4711") as bells:
        assert [bell.count for bell in bells] == [1, 1, 1]


async def test_it_makes_the_directory_private(files):
    async with files.watching(QUEUE):
        assert files.admin.stat().st_mode & 0o777 == 0o700


async def test_it_rings_when_a_file_is_created_in_place(files):
    async with files.watching(QUEUE) as (bell,):
        files.drop("admin-4711-a.json")
        await bell.rings()


async def test_it_rings_when_a_file_is_renamed_to_its_name(files):
    async with files.watching(QUEUE) as (bell,):
        files.drop("draft").rename(files.admin / "admin-4711-a.json")
        await bell.rings()


async def test_it_rings_for_what_the_store_pushes_and_returns(files):
    await files.lease()
    async with files.watching(QUEUE) as (bell,):
        await files.ask(PushMessage(QUEUE, "m", GOOD))
        await bell.rings()
        claim = await files.take()
        await files.ask(ReturnMessage(QUEUE, "one", claim.token))
        await bell.rings()
        assert (await files.take()).tries == 1


async def test_it_rings_for_control_by_the_bots_id(files):
    async with files.watching("4711", QUEUE) as (control, messages):
        await files.ask(PushControl("4711", "c", b"{}"))
        await control.rings()
        assert await files.ask(TakeControl("4711")) == [b"{}"]
        assert messages.count == 1


async def test_it_rings_nobody_else_and_nobody_for_unrelated_files(files):
    async with files.watching(Queue("bot", "4712"), QUEUE) as (other, ours):
        for name in ("notes.txt", "admin-4711.json", ".hidden", "admin-4711-x.tmp"):
            files.drop(name)
        files.drop("admin-4711-a.json")
        await ours.rings()
        assert (other.count, ours.count) == (1, 2)


async def test_it_rings_no_more_for_who_unsubscribed(files):
    gone, twice = Bell(), Bell()
    unsubscribe = files.doorbell.subscribe(QUEUE, gone.ring)
    files.doorbell.subscribe(QUEUE, twice.ring)
    unsubscribe()
    unsubscribe()
    async with files.watching(QUEUE) as (bell,):
        files.drop("admin-4711-a.json")
        await bell.rings()
        assert (gone.count, twice.count) == (0, 2)


async def test_a_burst_is_taken_to_the_last_file(files):
    await files.lease()
    async with files.watching(QUEUE) as (bell,):
        for number in range(500):
            files.drop(f"admin-4711-{number:03}.json")
        seen, done = set(), None
        while len(seen) < 500:
            claim = await files.take(done)
            if claim is None:
                done = None
                await bell.rings()
                continue
            seen.add(claim.name)
            done = Done(claim.token, claim.name)


async def test_what_came_before_it_ran_is_found_and_comes_first(files):
    files.admin.mkdir(mode=0o700)
    files.drop("admin-4711-z.json")
    os.utime(files.admin / "admin-4711-z.json", (time.time() - 60,) * 2)
    async with files.watching(QUEUE) as (bell,):
        files.drop("admin-4711-a.json")
        await bell.rings()
        await files.lease()
        assert (await files.take()).name == "admin-4711-z.json"


async def test_it_follows_a_directory_that_is_made_anew(files):
    async with files.watching(QUEUE) as (bell,):
        shutil.rmtree(files.admin)
        await bell.rings()  # for the start on the new one
        files.drop("admin-4711-a.json")
        await bell.rings()


async def test_it_follows_a_directory_that_was_moved_away(files):
    async with files.watching(QUEUE) as (bell,):
        files.admin.rename(files.admin.with_name("moved"))
        await bell.rings()
        files.drop("admin-4711-a.json")
        await bell.rings()


async def test_a_truncated_file_is_looked_at_again_without_a_new_arrival(files):
    await files.lease()
    async with files.watching(QUEUE) as (bell,):
        path = files.drop("admin-4711-a.json", b'{"message": "cut')
        await bell.rings()
        while files.store.spool.index.next_due() == float("inf"):
            assert await files.take() is None
        os.utime(path, (time.time() - 60,) * 2)  # as if it had rested
        with anyio.fail_after(10):
            while path.exists():
                await bell.rings()
                assert await files.take() is None
    assert [level for level, _ in files.told] == ["WARNING"]


async def test_a_truncated_file_from_a_clock_ahead_rests_no_longer_than_others(watched):
    await watched.lease()
    async with watched.watching(QUEUE) as (bell,):
        path = watched.drop("draft", b'{"message": "cut')
        os.utime(path, (time.time() + 86_400,) * 2)
        path = path.rename(watched.admin / "admin-4711-a.json")
        began = time.monotonic()
        with anyio.fail_after(20):
            while path.exists():
                await bell.rings()
                assert await watched.take() is None
        assert time.monotonic() - began >= 1.9


@inotify_only
async def test_an_overflow_of_the_kernels_queue_loses_nothing(watched):
    limit = kernel_queue()
    if limit > 50_000:
        pytest.skip(f"the kernel's queue holds {limit} events")
    await watched.lease()
    async with watched.watching(QUEUE) as (bell,):
        noise = watched.admin / "noise"
        for _ in range(limit // 2 + 100):  # the loop cannot read meanwhile; two names are never one event
            noise.write_bytes(b"")
            noise.with_name("more noise").write_bytes(b"")
        watched.drop("admin-4711-a.json")
        await bell.rings()
        assert (await watched.take()).name == "admin-4711-a.json"


async def test_without_inotify_it_polls_and_says_so_once(watched, monkeypatch):
    monkeypatch.setitem(sys.modules, "inotify_simple", None)  # importing it fails
    async with watched.watching(QUEUE) as (bell,):
        shutil.rmtree(watched.admin)
        await bell.rings()
        watched.drop("admin-4711-a.json")
        await bell.rings()
    (told,) = watched.told
    assert told[0] == "WARNING"
    assert "polling every 50 ms" in told[1]


async def test_a_directory_that_is_not_ours_alone_is_refused(files):
    files.admin.mkdir()
    files.admin.chmod(0o777)
    with pytest.raises(UnsafeDirectory):
        await files.doorbell.run(lambda: None)


async def test_it_leaves_no_descriptor_behind(files):
    async with files.watching(QUEUE):
        pass
    assert "anon_inode:inotify" not in descriptors()


def descriptors():
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(path.readlink()))
    return found


def kernel_queue():
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


async def test_among_ten_thousand_unrelated_files_a_message_costs_no_listing_and_comes_in_time(watched):
    watched.admin.mkdir(mode=0o700)
    for number in range(UNRELATED):
        os.close(os.open(watched.admin / f"unrelated-{number}", os.O_CREAT, 0o600))
    await watched.lease()
    async with watched.watching(QUEUE) as (bell,):
        assert await watched.take() is None
        before = listed.count(str(watched.admin))
        waits = []
        for number in range(50):
            began = time.perf_counter()
            watched.drop(f"admin-4711-{number}.json")
            await bell.rings()
            claim = await watched.take()
            waits.append(time.perf_counter() - began)
            assert claim.name == f"admin-4711-{number}.json"
            assert await watched.take(Done(claim.token, claim.name)) is None
        assert listed.count(str(watched.admin)) == before
    assert sorted(waits)[len(waits) // 2] < 0.05


async def test_polling_among_ten_thousand_unrelated_files_is_cheap_while_nothing_happens(tmp_path):
    files = Files(tmp_path, inotify=False)
    files.admin.mkdir(mode=0o700)
    for number in range(UNRELATED):
        os.close(os.open(files.admin / f"unrelated-{number}", os.O_CREAT, 0o600))
    os.utime(files.admin, (time.time() - 60,) * 2)
    async with files.watching(QUEUE):
        before = listed.count(str(files.admin))
        await anyio.sleep(0.5)
        assert listed.count(str(files.admin)) == before
    files.store.close()


async def test_the_doorbell_in_memory_rings_for_its_own_store(anyio_backend):
    store = MemoryStore()
    doorbell, queue_bell, control_bell = MemoryDoorbell(store), Bell(), Bell()
    doorbell.subscribe("4711", control_bell.ring)
    unsubscribe = doorbell.subscribe(QUEUE, queue_bell.ring)
    async with anyio.create_task_group() as group:
        started = anyio.Event()
        group.start_soon(doorbell.run, started.set)
        await started.wait()
        await queue_bell.rings()
        await store.execute([PushMessage(QUEUE, "m", GOOD), PushControl("4711", "c", b"{}")])
        await queue_bell.rings()
        unsubscribe()
        await store.execute([PushMessage(QUEUE, "m", GOOD)])
        assert (queue_bell.count, control_bell.count) == (2, 2)
        group.cancel_scope.cancel()
