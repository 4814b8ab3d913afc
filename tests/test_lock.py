"""Leases on files: who holds one, who gets it next, and what ends it."""

import fcntl
import os
import stat
import subprocess
import sys
import threading

import pytest

from botvisor.actors.backend.lock import FileLease, exclusive, remove_stale, unheld
from botvisor.errors import StoreError, StoreUnavailable
from botvisor.process import own

ONE = own("bot-1", "one")
TWO = own("bot-1", "two")

HOLDER = """
import os, sys, time
from botvisor.actors.backend.lock import FileLease
from botvisor.process import own
lease = FileLease(sys.argv[1])
assert lease.acquire(own("bot-1", "other")) is None
if sys.argv[2] == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
if sys.argv[2] != "fork":
    print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bot-1.lock"


@pytest.fixture
def lease(path):
    leases = []

    def new():
        leases.append(FileLease(str(path)))
        return leases[-1]

    yield new
    for each in leases:
        each.close()


@pytest.fixture
def holder(path):
    """Start a process that holds the lease; return it once it does."""
    started = []

    def start(how="hold"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path, how], stdout=subprocess.PIPE, text=True
        )
        started.append((process, int(process.stdout.readline())))
        return started[-1]

    yield start
    for process, pid in started:
        process.kill()
        process.wait()
        process.stdout.close()
        if pid != process.pid:
            os.kill(pid, 9)


def test_a_free_lease_is_granted_and_says_whose_it_is(lease, path):
    assert lease().acquire(ONE) is None
    assert b'"instance":"one"' in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_acquiring_again_for_the_same_instance_changes_nothing(lease):
    ours = lease()
    assert ours.acquire(ONE) is None
    assert ours.acquire(ONE) is None
    assert ours.held_by("one")


def test_two_holders_in_one_process_conflict(lease):
    ours, theirs = lease(), lease()
    ours.acquire(ONE)
    assert theirs.acquire(TWO) == ONE
    assert not theirs.held_by("two")


def test_one_lease_object_tells_two_instances_apart(lease):
    ours = lease()
    ours.acquire(ONE)
    assert ours.acquire(TWO) == ONE
    assert ours.held_by("one")


def test_a_holder_in_another_process_is_named(lease, holder):
    process, _ = holder()
    found = lease().acquire(ONE)
    assert (found.instance, found.pid) == ("other", process.pid)


def test_a_killed_holder_leaves_the_lease_free(lease, holder):
    process, _ = holder()
    process.kill()
    process.wait()
    assert lease().acquire(ONE) is None


def test_a_fork_of_the_holder_does_not_keep_the_lease(lease, holder):
    process, child = holder("fork")
    assert lease().acquire(ONE) is not None
    process.kill()
    process.wait()
    os.kill(child, 0)  # the fork lives
    assert lease().acquire(ONE) is None


def test_a_child_program_does_not_keep_the_lease(lease):
    ours = lease()
    ours.acquire(ONE)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        ours.close()
        assert lease().acquire(TWO) is None
    finally:
        child.kill()
        child.wait()


def test_giving_a_lease_up_deletes_its_file(lease, path):
    ours = lease()
    ours.acquire(ONE)
    ours.release("two")
    assert ours.held_by("one")
    ours.release("one")
    assert not path.exists()
    assert lease().acquire(TWO) is None


def test_giving_up_leaves_a_file_that_became_another_holders(lease, path):
    ours, theirs = lease(), lease()
    ours.acquire(ONE)
    path.unlink()
    assert theirs.acquire(TWO) is None
    ours.release("one")
    assert theirs.held_by("two")


def test_a_lease_whose_file_was_deleted_is_held_no_more_and_can_be_acquired_again(lease, path):
    ours = lease()
    ours.acquire(ONE)
    path.unlink()
    assert not ours.held_by("one")
    assert ours.acquire(ONE) is None
    assert ours.held_by("one")


def test_a_file_deleted_between_opening_and_locking_is_not_taken_for_the_lease(lease, path, monkeypatch):
    flock = fcntl.flock

    def delete_and_lock(fd, operation):
        monkeypatch.undo()
        path.unlink()  # as its last holder does when it gives the lease up
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", delete_and_lock)
    ours = lease()
    assert ours.acquire(ONE) is None
    assert ours.held_by("one")
    assert lease().acquire(TWO) == ONE


def test_a_holder_that_cannot_be_read_is_an_owner_without_instance(lease, path):
    lease().acquire(ONE)
    path.write_bytes(b"{")
    assert lease().acquire(TWO).instance == ""


def test_a_record_of_a_dead_owner_is_replaced_whole(lease, path):
    path.write_bytes(b"x" * 4000)
    lease().acquire(ONE)
    assert lease().acquire(TWO) == ONE


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_a_lock_that_is_no_plain_file_is_refused(lease, path, tmp_path, kind):
    target = tmp_path / "target"
    target.write_text("untouched")
    {
        "link": lambda: path.symlink_to(target),
        "pipe": lambda: os.mkfifo(path),
        "directory": lambda: path.mkdir(),
    }[kind]()
    with pytest.raises(StoreError):
        lease().acquire(ONE)
    assert target.read_text() == "untouched"


def test_a_lease_without_a_directory_is_unavailable(tmp_path):
    with pytest.raises(StoreUnavailable, match="ENOENT"):
        FileLease(str(tmp_path / "missing" / "a.lock")).acquire(ONE)


def test_only_one_of_many_holds_a_lease_that_changes_hands_all_the_time(path):
    inside, most, granted = 0, 0, 0
    guard = threading.Lock()

    def contend(number):
        nonlocal inside, most, granted
        lease = FileLease(str(path))
        owner = own("bot-1", f"thread-{number}")
        for _ in range(300):
            if lease.acquire(owner) is not None:
                continue
            with guard:
                inside += 1
                granted += 1
                most = max(most, inside)
            with guard:
                inside -= 1
            lease.release(owner.instance)

    threads = [threading.Thread(target=contend, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == 1
    assert granted > 4


def test_only_a_lock_that_nobody_holds_is_stale(lease, path):
    ours = lease()
    ours.acquire(ONE)
    assert not remove_stale(str(path))
    assert not unheld(str(path))
    ours.close()
    assert unheld(str(path))
    assert remove_stale(str(path))
    assert not path.exists()
    assert unheld(str(path))
    assert not remove_stale(str(path))


def test_a_directory_is_held_by_one_at_a_time(tmp_path):
    with (
        exclusive(str(tmp_path), 0),
        pytest.raises(StoreUnavailable, match="another process"),
        exclusive(str(tmp_path), 0.01),
    ):
        pass
    with exclusive(str(tmp_path), 0):
        pass


def test_a_missing_directory_cannot_be_held(tmp_path):
    with pytest.raises(FileNotFoundError), exclusive(str(tmp_path / "missing"), 0):
        pass
