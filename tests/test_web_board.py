"""The web page's memory: the last fleet, what has changed of it, and its figures over time."""

import json

import pytest

from botvisor.fleet.board import Board
from botvisor.fleet.history import COLUMNS, History, limit_for
from botvisor.heartbeat import Heartbeat


def beat(bot_id, seq=1, at="2026-01-01T00:00:00.000+00:00"):
    return Heartbeat(pid=1, room_url="", participants=(), timestamp=at, bot_id=bot_id, seq=seq)


def found(*bots, **status):
    """What a look has found: ids, or heartbeats."""
    beats = [each if isinstance(each, Heartbeat) else beat(each) for each in bots]
    return {
        each.bot_id: (
            each,
            {"bot_id": each.bot_id, "status": status.get(each.bot_id, "healthy"), "seq": each.seq},
        )
        for each in beats
    }


def changes(board, since=None):
    return json.loads(board.changes(since))


def ids(document):
    return sorted(bot["bot_id"] for bot in document["bots"])


def test_who_has_seen_nothing_is_told_everything():
    board = Board()
    board.show(found("ada", "bob"), 10.0, None)
    told = changes(board)
    assert (told["reset"], ids(told), told["as_of"]) == (True, ["ada", "bob"], None)


def test_who_has_seen_a_version_is_told_what_changed_since():
    board = Board()
    board.show(found("ada", "bob", "cyd"), 10.0, None)
    seen = board.version
    board.show(found("ada", "bob", bob="blocked"), 12.0, None)
    told = changes(board, seen)
    assert (told["reset"], ids(told), told["gone"]) == (False, ["bob"], ["cyd"])
    assert changes(board, board.version)["bots"] == []


def test_a_look_that_finds_nothing_new_makes_no_version():
    board = Board()
    board.show(found("ada"), 10.0, None)
    seen = board.version
    assert board.show(found("ada"), 12.0, None) == []
    assert board.version == seen


def test_a_bot_that_comes_back_is_not_gone():
    board = Board()
    board.show(found("ada"), 10.0, None)
    seen = board.version
    board.show({}, 12.0, None)
    board.show(found("ada"), 14.0, None)
    told = changes(board, seen)
    assert (ids(told), told["gone"]) == (["ada"], [])


def test_who_has_seen_too_little_to_know_what_has_gone_is_told_everything():
    board = Board()
    board.show(found("ada"), 10.0, None)
    seen = board.version
    for number in range(1_200):
        board.show(found("ada", f"bot-{number}"), 12.0 + number, None)
    told = changes(board, seen)
    assert (told["reset"], ids(told)) == (True, ["ada", "bot-1199"])
    assert len(changes(board, board.version - 1)["gone"]) == 1


def test_when_nothing_answers_the_last_fleet_stays_as_of_then():
    board = Board()
    board.show(found("ada"), 10.0, None)
    board.lose("no store answered")
    told = changes(board)
    assert (told["as_of"], told["problem"]) == (10.0, "no store answered")
    assert [(bot["bot_id"], bot["as_of"]) for bot in told["bots"]] == [("ada", 10.0)]
    board.show(found("ada"), 14.0, None)
    told = changes(board)
    assert (told["as_of"], told["problem"], told["bots"][0]["as_of"]) == (None, None, None)


def test_while_redis_is_away_bots_elsewhere_stay_and_those_here_are_fresh():
    board = Board()
    board.show(found("here", "elsewhere"), 10.0, None)
    for now in (12.0, 14.0):
        board.show(found(beat("here", seq=2)), now, "it refuses connections")
    told = changes(board)
    assert (told["as_of"], told["away"]) == (10.0, "it refuses connections")
    assert {bot["bot_id"]: bot["as_of"] for bot in told["bots"]} == {"here": None, "elsewhere": 10.0}


def test_a_file_of_an_earlier_outage_does_not_replace_what_redis_told():
    board = Board()
    board.show(found(beat("ada", seq=50, at="2026-01-01T09:00:00.000+00:00")), 10.0, None)
    board.show(found(beat("ada", seq=3, at="2026-01-01T07:00:00.000+00:00")), 12.0, "away")
    (bot,) = changes(board)["bots"]
    assert (bot["seq"], bot["as_of"]) == (50, 10.0)


def test_a_new_heartbeat_is_told_of():
    board = Board()
    assert board.show(found("ada"), 10.0, None) == ["ada"]
    assert board.show(found(beat("ada", seq=2)), 12.0, None) == ["ada"]


def test_figures_are_kept_by_column_and_for_half_an_hour():
    history = History()
    for minute in range(45):
        history.add(minute * 60.0, (minute, 0, None, 2))
    columns = history.columns()
    assert tuple(columns) == COLUMNS
    assert columns["at"] == [minute * 60.0 for minute in range(14, 45)]
    assert columns["lag_ms"] == list(range(14, 45))
    assert set(columns["rss_mb"]) == {None}


def test_figures_that_come_faster_push_the_oldest_out():
    history = History(limit=10)
    for number in range(25):
        history.add(number / 10, (number, 0, 0, 0))
    assert history.columns()["lag_ms"] == list(range(15, 25))


@pytest.mark.parametrize(("bots", "points"), [(0, 900), (1_000, 900), (10_000, 167), (10**9, 10)])
def test_the_figures_of_a_large_fleet_have_less_room_each(bots, points):
    assert limit_for(bots) == points
