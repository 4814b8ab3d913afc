"""What is old is over only when the host's clock has run evenly for as long; a mark says since when."""

import json
import math
import time

import pytest

from botvisor.actors.backend.directory import Directory
from botvisor.actors.backend.steady_clock import SteadyClock
from botvisor.store import CleanUpIdentities, ReadIdentity, Sweep
from botvisor.wire import ADMIN_TTL_S, CLOCK_FILE, IDENTITY_TTL_S

from .file_rig import ROOM, age, identity

DAY_S = 86_400
TTL_S = 3_600


@pytest.fixture
def spool(tmp_path):
    directory = Directory(tmp_path / "spool")
    directory.ready()
    return directory


def oldest(spool):
    """How long ago what is over was written, as a process sees it that has just started."""
    return time.time() - SteadyClock(spool).oldest_s(TTL_S)


def mark(path):
    return json.loads((path / CLOCK_FILE).read_bytes())


def change(path, **fields):
    """Change what the last process saw when it looked."""
    (path / CLOCK_FILE).write_text(json.dumps({**mark(path), **fields}))


def set_clock(path, by_s):
    """Have the clock set since the last look: what was seen then was by the old one."""
    change(path, wall_s=mark(path)["wall_s"] - by_s)


def wait(path, seconds):
    """Let time go by: the clock was set so much longer ago."""
    change(path, since_s=mark(path)["since_s"] - seconds)


def test_a_clock_of_which_nothing_else_is_known_is_taken_at_its_word(spool, tmp_path):
    assert oldest(spool) == pytest.approx(TTL_S, abs=5)
    assert oldest(spool) == pytest.approx(TTL_S, abs=5)
    assert (tmp_path / "spool" / CLOCK_FILE).stat().st_mode & 0o777 == 0o600
    assert mark(tmp_path / "spool")["since_s"] is None


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S, 120])
def test_after_a_clock_was_set_nothing_is_over_before_its_lifetime_has_passed(spool, tmp_path, by_s):
    oldest(spool)
    set_clock(tmp_path / "spool", by_s)
    assert oldest(spool) == math.inf
    wait(tmp_path / "spool", TTL_S - 60)
    assert oldest(spool) == math.inf
    wait(tmp_path / "spool", 61)
    assert oldest(spool) == pytest.approx(TTL_S, abs=5)


@pytest.mark.parametrize("fields", [{"boot_id": "another"}, {"boot_s": -1e9}])
def test_after_a_boot_nothing_is_known_of_the_clock(spool, tmp_path, fields):
    oldest(spool)
    change(tmp_path / "spool", **fields)
    assert oldest(spool) == math.inf
    wait(tmp_path / "spool", TTL_S)
    assert oldest(spool) == pytest.approx(TTL_S, abs=5)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[]", b'{"boot_id":1}', b"x" * 10_000])
def test_a_mark_that_cannot_be_read_says_that_nothing_is_known(spool, tmp_path, raw):
    (tmp_path / "spool" / CLOCK_FILE).write_bytes(raw)
    assert oldest(spool) == math.inf
    assert mark(tmp_path / "spool")["since_s"] is not None


def test_small_corrections_change_nothing(spool, tmp_path):
    oldest(spool)
    set_clock(tmp_path / "spool", 20)
    assert oldest(spool) == pytest.approx(TTL_S, abs=5)


def test_a_process_that_runs_sees_at_once_that_the_clock_was_set(spool, monkeypatch):
    clock = SteadyClock(spool)
    clock.oldest_s(TTL_S)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + DAY_S)
    assert clock.oldest_s(TTL_S) == -math.inf
    monkeypatch.setattr(time, "time", now)
    assert clock.oldest_s(TTL_S) == -math.inf  # it was set again


def test_without_a_directory_none_is_made(tmp_path):
    assert oldest(Directory(tmp_path / "spool")) == pytest.approx(TTL_S, abs=5)
    assert list(tmp_path.iterdir()) == []


async def restarted_after(files, by_s):
    """Have the clock set, and a process start that knows of it by the mark alone."""
    set_clock(files.admin, by_s)
    files.store.close()
    files.store = files.new_store()


async def test_what_waits_outlives_a_clock_that_is_set_ahead(files):
    await files.push("m")
    assert await files.ask(Sweep()) == 0
    await restarted_after(files, DAY_S)
    (waiting,) = files.admin.glob("admin-*")
    age(waiting, DAY_S)
    assert await files.ask(Sweep()) == 0
    wait(files.admin, ADMIN_TTL_S - 60)
    await restarted_after(files, 0)
    assert await files.ask(Sweep()) == 0
    wait(files.admin, 61)
    await restarted_after(files, 0)
    assert await files.ask(Sweep()) == 1


async def test_an_identity_outlives_a_clock_that_is_set_ahead(files):
    await files.ask(identity(updated_ms=int((time.time() - IDENTITY_TTL_S - 60) * 1000)))
    await files.push("m")
    assert await files.ask(ReadIdentity(ROOM, "ann")) is None
    await restarted_after(files, DAY_S)
    assert await files.ask(CleanUpIdentities(ROOM)) == 0
    assert (await files.ask(ReadIdentity(ROOM, "ann"))).participant_id == "ann"
