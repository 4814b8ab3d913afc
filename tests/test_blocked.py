"""Whose heartbeat a stack dump is taken for."""

import time
from datetime import UTC, datetime

import pytest

from botvisor import process
from botvisor.blocked import with_dumps
from botvisor.heartbeat import Heartbeat
from botvisor.mending import Dump

TEXT = """Timeout (0:00:03)!
Thread 0x00007f0000000002 (most recent call first):
  File "/srv/bot/talk.py", line 12 in match
  File "/srv/bot/bot.py", line 40 in main
  File "/srv/bot/bot.py", line 50 in <module>
"""
NOW = time.time()


def beat(bot_id="ada", *, at=NOW, **fields):
    own = process.own(bot_id, "i")
    given = {"pid": own.pid, "boot_id": own.boot_id, "pid_ns": own.pid_ns, "start_ticks": own.start_ticks}
    written = datetime.fromtimestamp(at, UTC).isoformat()
    return Heartbeat(
        bot_id=bot_id,
        room_url="",
        participants=(),
        timestamp=written,
        **{**given, "status": "healthy", **fields},
    )


def test_a_dump_that_is_newer_than_the_heartbeat_tells_where_the_bot_stands():
    (found,) = with_dumps([beat(health={"uptime_s": 7.0})], [Dump("ada", TEXT, NOW + 5)])
    place = {name: found.health["blocked"][name] for name in ("file", "line", "function", "for_s")}
    assert place == {"file": "/srv/bot/talk.py", "line": 12, "function": "match", "for_s": 3.0}
    assert (found.status, found.health["uptime_s"]) == ("blocked", 12.0)
    assert datetime.fromisoformat(found.timestamp).timestamp() == pytest.approx(NOW + 5, abs=0.01)


@pytest.mark.parametrize(
    ("heartbeat", "dump"),
    [
        (beat(), Dump("ada", TEXT, NOW - 1)),  # it turns again
        (beat(), Dump("bob", TEXT, NOW + 1)),
        (beat(), Dump("ada", "", NOW + 1)),
        (beat(), Dump("ada", "no stack", NOW + 1)),
        (beat(boot_id="another"), Dump("ada", TEXT, NOW + 1)),
        (beat(boot_id=""), Dump("ada", TEXT, NOW + 1)),
        (beat(status="stopped"), Dump("ada", TEXT, NOW + 1)),
        (beat(status="blocked", health={"blocked": {"line": 1}}), Dump("ada", TEXT, NOW + 1)),
    ],
)
def test_any_other_dump_changes_nothing(heartbeat, dump):
    assert with_dumps([heartbeat], [dump]) == [heartbeat]


def test_all_bots_of_a_process_are_blocked_together_and_no_others():
    fleet = [beat("ada"), beat("ada.2"), beat("bob", pid=1)]
    found = with_dumps(fleet, [Dump("ada", TEXT, NOW + 1)])
    assert [each.status for each in found] == ["blocked", "blocked", "healthy"]


def test_a_heartbeat_without_a_readable_time_is_left_alone():
    heartbeat = Heartbeat(pid=1, room_url="", participants=(), timestamp="soon", bot_id="ada")
    assert with_dumps([heartbeat], [Dump("ada", TEXT, NOW)]) == [heartbeat]
