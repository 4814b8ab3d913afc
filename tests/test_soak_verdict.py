"""The verdict of ./scripts/soak: what the ledgers tell of lost and repeated messages, and of their bots."""

import pytest

from .soak_rig import (
    ROOM,
    Follower,
    Ledger,
    accepted,
    beat,
    delays,
    ended,
    episodes,
    failovers,
    handled,
    percentile,
    read,
    refused,
    rest,
    seen,
    sightings,
    started,
    struck,
    verdict_on,
)


def test_what_was_accepted_and_handled_once_is_well():
    verdict = verdict_on(accepted("a"), accepted("b"), handled("a"), handled("b"), rest())
    assert (verdict.sent, verdict.handled, verdict.lost, verdict.unmarked, verdict.exit_code) == (
        2,
        2,
        0,
        0,
        0,
    )
    assert verdict.findings == {}


def test_what_was_never_handled_is_lost_and_its_story_is_told():
    verdict = verdict_on(accepted("a"), accepted("b"), handled("b"), rest())
    assert (verdict.lost, verdict.exit_code) == (1, 1)
    (found,) = verdict.findings["lost"]
    assert (found.id, found.accepted.target, found.handled) == ("a", "own1", [])


def test_what_waits_or_was_given_up_is_not_lost():
    verdict = verdict_on(accepted("a"), accepted("b"), rest(waiting=["a"], dead=["b"]))
    assert (verdict.lost, verdict.waiting, verdict.dead, verdict.exit_code) == (0, 1, 1, 4)


@pytest.mark.parametrize(
    ("persistence", "durable", "promised"),
    [("aof", False, True), ("none", True, True), ("none", False, False), ("rdb", False, False)],
)
def test_what_nobody_promised_to_keep_is_counted_apart(persistence, durable, promised):
    verdict = verdict_on(accepted("a", durable=durable), rest(), persistence=persistence)
    assert (verdict.lost, verdict.lost_unpromised) == (int(promised), int(not promised))
    assert verdict.exit_code == int(promised)


def test_a_repeat_is_well_if_it_is_marked():
    again = handled("a", 3.0, redelivered=True, tries=2)
    verdict = verdict_on(accepted("a"), again, handled("a", 2.0))
    assert (verdict.duplicated, verdict.redelivered, verdict.unmarked, verdict.exit_code) == (1, 1, 0, 0)


def test_a_repeat_without_a_mark_is_none_even_after_a_first_time_that_had_one():
    assert verdict_on(accepted("a"), handled("a"), handled("a", 3.0)).exit_code == 3
    marked_first = [handled("a", 2.0, redelivered=True), handled("a", 3.0)]
    assert verdict_on(accepted("a"), *marked_first).unmarked == 1


def test_what_was_never_acknowledged_may_come_but_not_twice_unmarked():
    verdict = verdict_on(handled("a"))
    assert (verdict.unacknowledged, verdict.exit_code) == (1, 0)
    assert verdict_on(handled("a"), handled("a", 3.0)).exit_code == 3


def test_a_message_is_for_its_bot_or_for_the_bots_of_its_room():
    own = accepted("a", target="own1")
    shared = accepted("b", target=ROOM)
    right = [handled("a"), handled("b", bot="shared2", bot_id="4711")]
    assert verdict_on(own, shared, *right).misdelivered == 0
    wrong = [handled("a", bot="own2", bot_id="own2"), handled("b")]
    verdict = verdict_on(own, shared, *wrong)
    assert (verdict.misdelivered, verdict.exit_code) == (2, 6)


def test_a_receipt_that_says_handled_must_be_true():
    verdict = verdict_on(accepted("a", state="handled"), rest(waiting=["a"]))
    assert (verdict.false_receipts, verdict.exit_code) == (1, 1)


def test_a_process_that_ends_by_itself_fails_the_run():
    assert verdict_on(accepted("a"), handled("a"), ended("own1", 1)).exit_code == 5


def test_a_fail_over_is_the_longest_that_a_call_was_held_up():
    records = [
        accepted("a", 9.9),
        refused(10.2, 11.0),
        accepted("b", 12.0, began=11.1),
        accepted("c", 10.5, began=10.0, sender="sender2"),
        accepted("d", 99.0, began=12.5, older=True),
        struck("hang", 10.4, 13.0, number=4),
        accepted("e", 80.0, began=30.0),
    ]
    assert failovers(records) == {4: pytest.approx(12.0 - 10.4)}


def test_the_time_in_which_no_store_could_accept_anything_is_not_a_fail_over():
    records = [
        struck("hang", 10.0, 14.0, number=1),
        struck("full-disk", 11.5, 15.0, number=2),
        refused(10.1, 11.6),
        accepted("a", 14.7, began=11.7),
    ]
    assert failovers(records) == {1: pytest.approx(14.7 - 10.1 - (14.0 - 11.5))}
    assert failovers([*records[:1], *records[2:]]) == {1: pytest.approx(14.7 - 10.1)}


def test_a_call_that_was_answered_before_the_fault_was_not_held_up_by_it():
    assert failovers([accepted("a", 9.9, began=1.0), struck("reset", 10.0, 10.0)]) == {1: 0.0}


def test_who_sends_once_and_not_again_is_not_held_up():
    once = [refused(10.2, 10.3, sender="injector"), accepted("a", 50.0, sender="injector")]
    assert failovers([*once, struck("reset", 10.0, 10.0)]) == {1: 0.0}


def test_all_has_recovered_when_what_was_accepted_came_and_senders_are_back_on_redis():
    records = [
        struck("redis-kill", 10.0, 12.0),
        accepted("a", 11.0, where="spool@here"),
        handled("a", 12.5),
        accepted("b", 12.2, where="spool@here"),
        handled("b", 20.0),
        accepted("c", 14.0),
        handled("c", 14.1),
    ]
    (row,) = episodes(records)
    assert (row.faults, row.recovery_s) == ([1], pytest.approx(2.0))


def test_a_fault_before_all_has_recovered_goes_on_with_the_episode_of_the_first():
    records = [
        struck("redis-kill", 10.0, 12.0, number=1),
        accepted("a", 11.0),
        handled("a", 14.0),
        struck("bot-kill", 13.0, 15.0, number=2, target="own1"),
        accepted("b", 13.5),
        handled("b", 15.5),
        struck("reset", 40.0, 40.0, number=3),
    ]
    first, second = episodes(records)
    assert (first.faults, first.kinds) == ([1, 2], ["bot-kill", "redis-kill"])
    assert first.recovery_s == pytest.approx(0.5)
    assert (second.faults, second.recovery_s) == ([3], 0.0)


def test_a_percentile_is_a_value_that_occurred():
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([], 0.5) is None


def test_a_delay_is_counted_to_the_first_time():
    assert delays([accepted("a", 1.0), handled("a", 5.0, redelivered=True), handled("a", 2.0)]) == [1.0]


SHOWN_DEAD = {
    "missing": {},
    "its predecessor 3, lost": {"own1": beat(pid=3, status="lost")},
    "lost": {"own1": beat(pid=4, status="lost")},
    "stale since 31.0 s": {"own1": beat(pid=4, age=31.0)},
}


@pytest.mark.parametrize("shown", SHOWN_DEAD)
def test_a_bot_that_lives_and_is_shown_as_dead_is_a_false_death(shown):
    found = sightings([started("own1", 4, 1.0), seen(2.0, **SHOWN_DEAD[shown])])
    assert [each.shown for each in found.false] == [shown]
    away = sightings([started("own1", 4, 1.0), seen(2.0, away="it hangs", **SHOWN_DEAD[shown])])
    assert ([], [shown]) == (away.false, [each.shown for each in away.while_away])


def test_only_bots_that_lived_during_the_whole_look_count():
    life = [started("own1", 4, 1.0), struck("bot-kill", 5.0, 6.0, target="own1"), started("own1", 5, 7.0)]
    looks = [seen(1.05), seen(5.05), seen(6.0), seen(7.05), seen(8.0, own1=beat(pid=5))]
    found = sightings([*life, *looks, seen(9.0, problem="no store answered")])
    assert (found.looks, found.failed, found.seen, found.false) == (6, 1, 1, [])


def test_a_line_that_a_kill_cut_off_is_none_and_does_not_spoil_the_next(tmp_path):
    path = tmp_path / "a.jsonl"
    Ledger(path).write(handled("a"))
    with path.open("ab") as file:
        file.write(b'{"what":"handled","id":"b","bo')
    assert [line.id for line in read([path])] == ["a"]
    Ledger(path).write(handled("c"))
    assert [line.id for line in read([path])] == ["a", "c"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_follower_reads_each_whole_line_once(tmp_path):
    follower, ledger = Follower(tmp_path), Ledger(tmp_path / "a.jsonl")
    ledger.write(handled("a"))
    Ledger(tmp_path / "b.jsonl").write(accepted("b"))
    assert [line.id for line in follower.news()] == ["a", "b"]
    ledger.write(handled("c"))
    with (tmp_path / "b.jsonl").open("ab") as file:
        file.write(b'{"what":')
    assert [line.id for line in follower.news()] == ["c"]
    assert follower.news() == []
