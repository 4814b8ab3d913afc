"""The rows of `botvisor top`: which, in which order, and how they fit."""

import pytest

from botvisor.cli import top_rows
from botvisor.cli.top_rows import COLUMNS, GAP, View, bar, layout
from botvisor.fleet.board import Snapshot
from botvisor.fleet.views import row_of

from .top_rig import beat


def sightings(*beats):
    return [Snapshot(each, row_of(each, 30.0), 0.0, 1) for each in beats]


def ids(view, *beats):
    return [each.row["bot_id"] for each in view.of(sightings(*beats))]


def test_each_column_can_be_sorted_by_both_ways_and_the_unknown_comes_last():
    beats = [
        beat("al", lag_ms=3.0, health={"uptime_s": 9, "restarts": 0}, host="B", room_url="https://a/2"),
        beat("bo", status="blocked", lag_ms=1.0, health={"uptime_s": 5, "restarts": 2}, participants=()),
        beat("cy", lag_ms=None, health={"uptime_s": None, "restarts": None}, host="", room_url=""),
    ]
    found, view = {}, View()
    for _ in range(9):
        found[view.by] = ids(view, *beats)
        backwards = View(by=view.by, reverse=True)
        assert view.arrow != backwards.arrow
        if view.by in ("LAG", "RESTARTS", "UP", "HOST", "ROOM"):
            assert ids(backwards, *beats) == [*found[view.by][1::-1], "cy"]
        view = view.sorted_by_next()
    assert view == View()
    assert found == {
        "STATUS": ["bo", "al", "cy"],
        "LAG": ["al", "bo", "cy"],
        "RESTARTS": ["bo", "al", "cy"],
        "UP": ["bo", "al", "cy"],
        "SEEN": found["SEEN"],
        "WHO": ["al", "cy", "bo"],
        "HOST": ["al", "bo", "cy"],
        "ROOM": ["al", "bo", "cy"],
        "BOT": ["al", "bo", "cy"],
    }


def test_the_lag_of_a_blocked_bot_is_for_how_long_it_is_blocked():
    (blocked,) = sightings(beat(status="blocked", lag_ms=0.2, health={"blocked": {"for_s": 4.0}}))
    seen_ms = blocked.row["last_seen_s"] * 1000
    assert top_rows.lag_ms(blocked) == 4000.0 + seen_ms


def test_words_filter_by_everything_that_is_shown_and_the_dead_are_asked_for():
    beats = [beat("al", host="east"), beat("bo", participants=("Zoe",)), beat("cy", status="stopped")]
    assert ids(View(words="EAST"), *beats) == ["al"]
    assert ids(View(words="zoe b"), *beats) == ["bo"]
    assert ids(View(words="stopped"), *beats) == []
    assert ids(View(words="stopped", dead=True), *beats) == ["cy"]
    assert ids(View(dead=True), *beats) == ["al", "bo", "cy"]


@pytest.mark.parametrize("long", ["short", "x" * 300, "会" * 100], ids=["short", "long", "wide"])
def test_the_columns_fit_from_40_columns_on(long):
    rows = sightings(
        beat(long, host=long, room_url=long, status="blocked", health={"blocked": {"file": long}})
    )
    for width in range(40, 400, 7):
        found = layout(rows, width)
        assert sum(wide for _, wide in found) + GAP * (len(found) - 1) <= width
        assert {"BOT", "STATUS", "SEEN"} <= {column.title for column, _ in found}
    assert [column for column, _ in layout(rows, 700)] == list(COLUMNS)


def test_on_a_narrow_terminal_are_the_columns_that_matter():
    rows = sightings(beat("a-bot-with-a-name", room_url="https://example.test/some-room"))
    assert [column.title for column, _ in layout(rows, 60)] == ["BOT", "STATUS", "LAG", "TREND", "SEEN"]


def test_a_bar_is_the_same_for_all_bots():
    assert "".join(map(bar, [0.0, 1.0, 5.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 1e9])) == "▁▂▃▄▅▆▇██"
    assert bar(None) == " "


def test_the_count_names_the_worst_first():
    given = {"a": "healthy", "b": "healthy", "c": "blocked", "d": "stopped", "e": "new"}
    bots = sightings(*(beat(bot_id, status=status) for bot_id, status in given.items()))
    assert top_rows.count(bots) == "4 live: 1 blocked, 1 new, 2 healthy; 1 ended"
    assert top_rows.count([]) == "0 live"
