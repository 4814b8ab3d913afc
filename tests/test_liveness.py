import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from botvisor import process
from botvisor.heartbeat import Heartbeat
from botvisor.liveness import age_s, owner, status

STALE_S = 30.0
OURS = process.own("bot", "instance")


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def heartbeat(seconds_old=1.0, of=OURS, **fields):
    facts = {name: getattr(of, name) for name in ("pid", "host", "boot_id", "pid_ns", "start_ticks")}
    return Heartbeat(**{"room_url": "", "participants": (), "timestamp": ago(seconds_old), **facts, **fields})


@pytest.fixture(scope="module")
def ended():
    """The owner record of a process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        ticks = process.start_ticks(child.pid)
        child.communicate(b"\n")
    return msgspec.structs.replace(OURS, pid=child.pid, start_ticks=ticks)


ELSEWHERE = msgspec.structs.replace(OURS, boot_id="another machine")


@pytest.mark.parametrize("own_status", ["starting", "healthy", "degraded", "draining", "blocked"])
def test_a_live_bot_has_the_status_it_gave_itself(own_status):
    assert status(heartbeat(status=own_status), STALE_S) == own_status


def test_a_heartbeat_of_an_older_bot_means_that_it_is_healthy():
    older = Heartbeat(pid=1, room_url="", participants=(), timestamp=ago(1))
    assert status(older, STALE_S) == "healthy"


@pytest.mark.parametrize("seconds_old", [1, 100_000])
def test_a_bot_that_left_last_words_has_stopped(seconds_old, ended):
    assert status(heartbeat(seconds_old, ended, status="stopped"), STALE_S) == "stopped"


def test_a_bot_whose_process_has_ended_without_last_words_is_lost_at_once(ended):
    assert status(heartbeat(0.1, ended, status="healthy"), STALE_S) == "lost"


def test_a_later_process_of_the_same_pid_is_not_the_bot():
    later = msgspec.structs.replace(OURS, start_ticks=OURS.start_ticks - 1)
    assert status(heartbeat(0.1, later, status="healthy"), STALE_S) == "lost"


def test_a_process_elsewhere_is_judged_by_its_silence():
    assert status(heartbeat(29, ELSEWHERE, status="healthy"), STALE_S) == "healthy"
    assert status(heartbeat(31, ELSEWHERE, status="healthy"), STALE_S) == "lost"


def test_a_silent_bot_whose_process_lives_is_blocked_and_not_lost():
    assert status(heartbeat(86_400, status="healthy"), STALE_S) == "blocked"


def test_the_owner_of_a_heartbeat_is_who_wrote_it():
    assert owner(heartbeat(bot_id="bot", instance="instance")) == OURS


def test_age_is_counted_from_the_time_that_was_written():
    assert age_s(heartbeat(12)) == pytest.approx(12, abs=1)


@pytest.mark.parametrize("form", ["{}Z", "{}+00:00", "{}"])
def test_a_time_without_a_zone_is_in_utc(form, monkeypatch):
    written = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=60)
    assert age_s(heartbeat(timestamp=form.format(written.isoformat()))) == pytest.approx(60, abs=1)


def test_a_time_in_the_future_is_now():
    assert age_s(heartbeat(-86_400)) == 0.0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00", "0001-01-01T00:00:00+23:00"])
def test_a_time_that_makes_no_sense_is_long_ago(text):
    assert age_s(heartbeat(timestamp=text)) > 1e9
