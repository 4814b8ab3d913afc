"""Who is a zombie, and that a signal for one reaches nobody else."""

import os
import signal
import subprocess
import time

import msgspec
import pytest

from botvisor import process
from botvisor.heartbeat import Heartbeat
from botvisor.pid_signal import Target
from botvisor.zombies import Suspicion, judge, look, uptime_s


def beat(seq=1, instance="i", **fields):
    given = {"pid": 1, "room_url": "", "participants": (), "timestamp": "", "status": "healthy", **fields}
    return Heartbeat(seq=seq, instance=instance, **given)


def looked(*beats, age_s=31.0, up_s=100.0):
    """What is suspected after looks at these heartbeats, one after the other."""
    suspicion = None
    for each in beats:
        suspicion = look(each, suspicion, age_s=age_s, uptime_s=up_s, stale_s=30, grace_s=45)
    return suspicion


def verdict(suspicion, *, gone=False, stopped=False, young=False):
    return judge(suspicion, gone=gone, stopped=stopped, young=young, required_hits=2)


def test_one_stale_look_is_a_suspicion_and_two_in_a_row_make_a_zombie():
    assert verdict(looked(beat())) == "suspect"
    assert verdict(looked(beat(), beat())) == "zombie"


def test_a_heartbeat_that_advances_clears_a_bot_however_its_clock_is_set():
    assert looked(beat(1), beat(2)).hits == 0
    assert looked(beat(1), beat(2), beat(2)).hits == 1


def test_a_fresh_heartbeat_is_not_stale():
    assert verdict(looked(beat(), beat(), age_s=29)) == "alive"


def test_another_start_of_the_bot_is_looked_at_anew():
    assert looked(beat(), beat(), beat(instance="j")).hits == 1


def test_nobody_is_suspected_within_its_grace():
    assert looked(beat(), beat(), up_s=44).hits == 0
    assert verdict(looked(beat(), up_s=44), young=True) == "young"


def test_a_bot_of_unknown_age_is_not_spared():
    assert looked(beat(), beat(), up_s=None).hits == 2


def test_who_has_ended_is_no_zombie():
    assert verdict(Suspicion(hits=5), gone=True) == "ended"
    assert verdict(Suspicion(hits=5), stopped=True) == "ended"
    assert looked(beat(status="stopped"), beat(status="stopped")).hits == 0


def test_the_age_of_a_process_of_this_boot_is_the_kernels():
    own = process.own("b", "i")
    here = beat(start_ticks=own.start_ticks, boot_id=own.boot_id)
    assert 0 < uptime_s(here, 0, time.time()) < 3600
    assert uptime_s(beat(health={"uptime_s": 5}), 7, time.time()) == 12
    assert uptime_s(beat(), 7, time.time()) is None


@pytest.fixture
def sleeper():
    """A process that sleeps, and its record."""
    child = subprocess.Popen(["sleep", "60"])
    owner = msgspec.structs.replace(
        process.own("b", "i"), pid=child.pid, start_ticks=process.start_ticks(child.pid)
    )
    yield child, owner
    child.kill()
    child.wait()


@pytest.fixture(params=["with pidfds", "without"])
def pidfds(request, monkeypatch):
    if request.param == "without":
        monkeypatch.delattr(os, "pidfd_open")


@pytest.mark.usefixtures("pidfds")
def test_a_process_is_signalled_and_its_end_awaited(sleeper):
    child, owner = sleeper
    with Target(owner) as target:
        assert not target.ended_within(0)
        assert target.send(signal.SIGTERM) == "sent"
        assert target.ended_within(5)
    assert child.wait() == -signal.SIGTERM
    with Target(owner) as target:
        assert (target.state, target.send(signal.SIGTERM)) == ("gone", "gone")


@pytest.mark.usefixtures("pidfds")
@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"start_ticks": 1}, "gone"),  # its pid is somebody else's by now
        ({"boot_id": "another"}, "unknown"),
        ({"boot_id": ""}, "unknown"),
        ({"pid_ns": "pid:[1]"}, "unknown"),
        ({"start_ticks": 0}, "unknown"),  # an older bot's record does not tell
    ],
)
def test_a_stranger_is_never_signalled(sleeper, fields, outcome):
    child, owner = sleeper
    with Target(msgspec.structs.replace(owner, **fields)) as target:
        assert target.send(signal.SIGKILL) == outcome
    time.sleep(0.05)
    assert child.poll() is None


@pytest.mark.parametrize("pid", [0, 1, -1])
def test_no_group_and_not_the_first_process_is_signalled(pid):
    with Target(msgspec.structs.replace(process.own("b", "i"), pid=pid)) as target:
        assert target.send(signal.SIGTERM) in ("unknown", "gone")


def test_the_process_that_was_compared_gets_the_signal_even_if_its_pid_is_anothers_by_then(sleeper):
    child, owner = sleeper
    with Target(owner) as target:
        child.kill()
        child.wait()
        assert target.send(signal.SIGKILL) == "gone"
