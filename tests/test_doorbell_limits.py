"""The spool's doorbell when things go wrong, and what silence costs."""

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

import anyio
import pytest

from botvisor.actors.backend import spool_index
from botvisor.errors import UnsafeDirectory
from botvisor.store import (
    Done,
    PushControl,
    PushMessage,
)
from botvisor.testing import MemoryDoorbell, MemoryStore

from .doorbell_rig import GOOD, QUEUE, UNRELATED, Bell, WatchedFiles, inotify_only, listed


async def test_it_follows_a_directory_that_is_made_anew(spool_files):
    async with spool_files.watching(QUEUE) as (bell,):
        shutil.rmtree(spool_files.admin)
        await bell.rings()  # for the start on the new one
        spool_files.drop("admin-4711-a.json")
        await bell.rings()


async def test_it_follows_a_directory_that_was_moved_away(spool_files):
    async with spool_files.watching(QUEUE) as (bell,):
        spool_files.admin.rename(spool_files.admin.with_name("moved"))
        await bell.rings()
        spool_files.drop("admin-4711-a.json")
        await bell.rings()


async def test_a_truncated_file_is_looked_at_again_without_a_new_arrival(spool_files):
    await spool_files.lease()
    async with spool_files.watching(QUEUE) as (bell,):
        path = spool_files.drop("admin-4711-a.json", b'{"message": "cut')
        await bell.rings()
        while spool_files.store.spool.index.next_due() == float("inf"):
            assert await spool_files.take() is None
        os.utime(path, (time.time() - 60,) * 2)  # as if it had rested
        with anyio.fail_after(10):
            while path.exists():
                await bell.rings()
                assert await spool_files.take() is None
    assert [level for level, _ in spool_files.told] == ["WARNING"]


async def test_a_truncated_file_from_a_clock_ahead_rests_no_longer_than_others(watched, monkeypatch):
    monkeypatch.setattr(spool_index, "REST_S", rest_s := spool_index.REST_S / 4)
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
        assert time.monotonic() - began >= rest_s - 0.1


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


async def test_a_directory_that_is_not_ours_alone_is_refused(spool_files):
    spool_files.admin.mkdir()
    spool_files.admin.chmod(0o777)
    with pytest.raises(UnsafeDirectory):
        await spool_files.doorbell.run(lambda: None)


async def test_it_leaves_no_descriptor_behind(spool_files):
    async with spool_files.watching(QUEUE):
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
    files = WatchedFiles(tmp_path, inotify=False)
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
