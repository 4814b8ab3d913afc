"""Whatever a bot says of itself, operators are shown something: of it, and of all the others."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botvisor import liveness, zombies
from botvisor.blocked import with_dumps
from botvisor.cli import output, ps, why
from botvisor.errors import MalformedMessage
from botvisor.fleet import rows, summary, views
from botvisor.heartbeat import from_json
from botvisor.mending import Dump

from .anything import JSON, NUMBERS, WORDS, objects, tried

TIMES = ["0001-01-01", "9999-12-31T23:59:59-23:59", "2026-11-25T00:00:00Z", "2026-11-25"]
COUNTS = st.fixed_dictionaries({}, optional={"operations": objects(["a"]), "errors": objects(["a"])})
ENTRIES = st.lists(objects(["actor", "error", "backoff_s", "at", "message"]), max_size=2)
HEALTH = st.fixed_dictionaries(
    {},
    optional={
        "blocked": objects(["file", "line", "function", "for_s", "stack"]) | JSON,
        "store": st.fixed_dictionaries({"redis": COUNTS | JSON, "since_s": JSON, "reason": JSON}) | JSON,
        "main": objects(["holds_s"]) | JSON,
        "ledger": ENTRIES | JSON,
        **dict.fromkeys(("uptime_s", "lag_ms", "restarts", "status_s", "throttled_s"), NUMBERS | JSON),
        **dict.fromkeys(("backend", "stack", "resting", "mailboxes", "rss_mb"), JSON),
    },
)
BEATS = st.fixed_dictionaries(
    {
        "pid": st.integers(0, 2**53),
        "room_url": WORDS,
        "participants": st.lists(WORDS, max_size=2),
        "timestamp": WORDS | st.sampled_from(TIMES),
        "health": HEALTH,
    },
    optional={
        "bot_id": WORDS,
        "host": WORDS,
        "start_ticks": st.integers(0, 2**53),
        "status": st.sampled_from(["healthy", "blocked", "stopped", "degraded", "draining", "x"]),
        "epitaph": objects(["reason", "exit", "ledger"]) | st.none(),
    },
)


@tried(100)
@given(BEATS)
def test_whatever_a_heartbeat_says_operators_are_shown_something(fields):
    beat = from_json(json.dumps(fields).encode())
    dump = '(most recent call first):\n  File "/srv/bot.py", line 7 in <module>\n'
    (beat,) = with_dumps([beat], [Dump(beat.bot_id, dump, time.time())])
    row = rows.row_of(beat, 30)
    for wide in (False, True):
        assert ps._table([row], wide=wide)
    output.say_json([row])
    up_s = zombies.uptime_s(beat, 1.0, time.time())
    assert up_s is None or isinstance(up_s, float | int)
    for status in rows.STATUSES:
        sighting = summary.Sighting(heartbeat=beat, status=status, age_s=liveness.age_s(beat), gone=None)
        assert summary.summary(sighting)
        assert isinstance(why._details(sighting), list)
        since_s = summary.since_s(sighting)
        assert since_s is None or since_s != float("inf")
        assert views.details_of(beat, status, [], time.time())
    assert views.row_of(beat, 30)
    assert views.figures_of(beat)


@pytest.mark.parametrize("name", ["pid", "start_ticks", "seq"])
@pytest.mark.parametrize("value", [-1, 10**30])
def test_a_count_that_nothing_has_is_no_heartbeat(name, value):
    fields = {"pid": 1, "room_url": "", "participants": [], "timestamp": "", name: value}
    with pytest.raises(MalformedMessage):
        from_json(json.dumps(fields).encode())
