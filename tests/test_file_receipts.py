"""Receipts on files: all are found, a bounded number is told, the old are deleted."""

import os
import time
from pathlib import Path

import pytest

from botvisor.actors.backend.directory import Directory
from botvisor.actors.backend.receipts import Receipts
from botvisor.actors.backend.steady_clock import SteadyClock
from botvisor.store import Past, ReadPast, ReadReceipt
from botvisor.wire import DONE_TTL_S, id_digest

from .file_rig import QUEUE, age

LEASE = "4711"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def spool(tmp_path):
    return Directory(tmp_path / "spool")


def receipts_of(spool, per_folder=10):
    return Receipts(spool, SteadyClock(spool), per_folder=per_folder)


def fill(receipts, numbers):
    for number in numbers:
        receipts.add(LEASE, f"m{number}")


def digests(numbers):
    return {id_digest(f"m{number}") for number in numbers}


def folders(receipts):
    return sorted(receipts.directory.sub(LEASE).names())


def test_of_many_receipts_the_newest_are_told_and_all_are_found(spool):
    receipts = receipts_of(spool)
    fill(receipts, range(57))
    assert set(receipts.newest(LEASE)) == digests(range(40, 57))
    assert all(receipts.has(LEASE, f"m{number}") for number in range(57))
    assert not receipts.has(LEASE, "m57")


def test_the_receipts_of_other_queues_are_not_looked_at(spool):
    receipts = receipts_of(spool)
    fill(receipts, range(3))
    receipts.add("4711.2", "m9")
    assert set(receipts.newest(LEASE)) == digests(range(3))
    assert not receipts.has(LEASE, "m9")


def test_a_successor_goes_on_in_the_folder_that_is_not_full(spool):
    fill(receipts_of(spool), range(15))
    successor = receipts_of(spool)
    fill(successor, range(15, 21))
    assert len(folders(successor)) == 3
    assert set(successor.newest(LEASE)) == digests(range(10, 21))


def test_whoever_writes_receipts_deletes_the_folders_that_are_too_old(spool):
    old_ms = int((time.time() - DONE_TTL_S - 60) * 1000)
    for number in range(3):
        folder = spool.sub(".done").sub(LEASE).sub(f"{old_ms + number:013d}")
        folder.write(id_digest(f"old{number}"), b"")
    receipts = receipts_of(spool)
    fill(receipts, range(1))
    # The last one was filled until just now, for all that its name tells.
    assert [number for number in range(3) if receipts.has(LEASE, f"old{number}")] == [2]
    assert receipts.has(LEASE, "m0")


def test_a_folder_stays_until_all_that_is_in_it_is_too_old(spool):
    receipts, now_ms = receipts_of(spool), int(time.time() * 1000)
    for age_s in (2 * DONE_TTL_S, DONE_TTL_S - 60, 30):
        folder = receipts.directory.sub(LEASE).sub(f"{now_ms - age_s * 1000:013d}")
        folder.write(id_digest(f"m{age_s}"), b"")
    assert receipts.expire(LEASE, time.monotonic() + 10) == 0
    assert len(folders(receipts)) == 3


def test_what_is_left_when_the_time_is_over_is_deleted_the_next_time(spool):
    receipts = receipts_of(spool)
    fill(receipts, range(15))
    for folder, _, names in os.walk(receipts.directory.path):
        for name in names:
            age(f"{folder}/{name}", DONE_TTL_S + 60)
    assert receipts.expire_last(LEASE, time.monotonic() - 1) == 0
    assert receipts.expire_last(LEASE, time.monotonic() + 10) == 5
    assert len(folders(receipts)) == 1
    assert receipts.expire_last(LEASE, time.monotonic() + 10) == 10
    assert not os.path.lexists(f"{receipts.directory.path}/{LEASE}")


async def test_a_queue_that_handled_many_tells_its_successor_of_the_newest_alone(files):
    for folder in range(4):
        path = files.admin / ".done" / LEASE / f"{folder:013d}"
        path.mkdir(mode=0o700, parents=True)
        for number in range(20):
            (path / id_digest(f"{folder}.{number}")).touch()
    files.admin.chmod(0o700)
    newest = {id_digest(f"{folder}.{number}") for folder in (2, 3) for number in range(20)}
    assert await files.ask(ReadPast(QUEUE, "one")) == Past(handled=frozenset(newest))
    assert await files.ask(ReadReceipt(QUEUE, "0.0")) == "handled"


def test_a_queue_without_receipts_has_none(spool):
    receipts = receipts_of(spool)
    assert list(receipts.newest(LEASE)) == []
    assert not receipts.has(LEASE, "m0")
    assert (
        receipts.expire(LEASE, time.monotonic() + 1) == receipts.expire_last(LEASE, time.monotonic() + 1) == 0
    )


@pytest.mark.parametrize("stray", ["x", "123456789012", "12345678901234", "123456789012a"])
def test_what_is_no_folder_of_ours_is_left_alone(spool, stray):
    receipts = receipts_of(spool)
    fill(receipts, range(3))
    stranger = receipts.directory.sub(LEASE).sub(stray)
    stranger.ready()
    assert set(receipts.newest(LEASE)) == digests(range(3))
    assert Path(stranger.path).is_dir()
