"""The spool's doorbell: every arrival is followed by a ring."""

import os
import time

from botvisor.store import (
    Done,
    PushControl,
    PushMessage,
    Queue,
    ReturnMessage,
    TakeControl,
)

from .doorbell_rig import GOOD, QUEUE, Bell


async def test_it_rings_everyone_once_at_the_start(spool_files):
    async with spool_files.watching(QUEUE, Queue("room", "https://example.test/room"), "4711") as bells:
        assert [bell.count for bell in bells] == [1, 1, 1]


async def test_it_makes_the_directory_private(spool_files):
    async with spool_files.watching(QUEUE):
        assert spool_files.admin.stat().st_mode & 0o777 == 0o700


async def test_it_rings_when_a_file_is_created_in_place(spool_files):
    async with spool_files.watching(QUEUE) as (bell,):
        spool_files.drop("admin-4711-a.json")
        await bell.rings()


async def test_it_rings_when_a_file_is_renamed_to_its_name(spool_files):
    async with spool_files.watching(QUEUE) as (bell,):
        spool_files.drop("draft").rename(spool_files.admin / "admin-4711-a.json")
        await bell.rings()


async def test_it_rings_for_what_the_store_pushes_and_returns(spool_files):
    await spool_files.lease()
    async with spool_files.watching(QUEUE) as (bell,):
        await spool_files.ask(PushMessage(QUEUE, "m", GOOD))
        await bell.rings()
        claim = await spool_files.take()
        await spool_files.ask(ReturnMessage(QUEUE, "one", claim.token))
        await bell.rings()
        assert (await spool_files.take()).tries == 1


async def test_it_rings_for_control_by_the_bots_id(spool_files):
    async with spool_files.watching("4711", QUEUE) as (control, messages):
        await spool_files.ask(PushControl("4711", "c", b"{}"))
        await control.rings()
        assert await spool_files.ask(TakeControl("4711")) == [b"{}"]
        assert messages.count == 1


async def test_it_rings_nobody_else_and_nobody_for_unrelated_files(spool_files):
    async with spool_files.watching(Queue("bot", "4712"), QUEUE) as (other, ours):
        for name in ("notes.txt", "admin-4711.json", ".hidden", "admin-4711-x.tmp"):
            spool_files.drop(name)
        spool_files.drop("admin-4711-a.json")
        await ours.rings()
        assert (other.count, ours.count) == (1, 2)


async def test_it_rings_no_more_for_who_unsubscribed(spool_files):
    gone, twice = Bell(), Bell()
    unsubscribe = spool_files.doorbell.subscribe(QUEUE, gone.ring)
    spool_files.doorbell.subscribe(QUEUE, twice.ring)
    unsubscribe()
    unsubscribe()
    async with spool_files.watching(QUEUE) as (bell,):
        spool_files.drop("admin-4711-a.json")
        await bell.rings()
        assert (gone.count, twice.count) == (0, 2)


async def test_a_burst_is_taken_to_the_last_file(spool_files):
    await spool_files.lease()
    async with spool_files.watching(QUEUE) as (bell,):
        for number in range(500):
            spool_files.drop(f"admin-4711-{number:03}.json")
        seen, done = set(), None
        while len(seen) < 500:
            claim = await spool_files.take(done)
            if claim is None:
                done = None
                await bell.rings()
                continue
            seen.add(claim.name)
            done = Done(claim.token, claim.name)


async def test_what_came_before_it_ran_is_found_and_comes_first(spool_files):
    spool_files.admin.mkdir(mode=0o700)
    spool_files.drop("admin-4711-z.json")
    os.utime(spool_files.admin / "admin-4711-z.json", (time.time() - 60,) * 2)
    async with spool_files.watching(QUEUE) as (bell,):
        spool_files.drop("admin-4711-a.json")
        await bell.rings()
        await spool_files.lease()
        assert (await spool_files.take()).name == "admin-4711-z.json"
