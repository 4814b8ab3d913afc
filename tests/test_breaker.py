"""The circuit breaker: when it opens, when it probes, and when it closes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botvisor.actors.backend.breaker import (
    Breaker,
    Failure,
    failed,
    judge,
    recovered,
    succeeded,
)


def fail(breaker, failure, now=0.0, draw=0.0):
    return failed(breaker, failure, generation=breaker.generation, now=now, draw=draw)


def succeed(breaker, now=0.0):
    return succeeded(breaker, generation=breaker.generation, now=now)


def opened(now=0.0):
    return fail(Breaker(), Failure.SILENT, now)


def closed_again(breaker, now):
    """Let a probe pass and the recovery end at once."""
    recovering = succeed(breaker, now)
    return recovered(recovering, generation=recovering.generation, now=now)


def waits(breaker, failures, failure=Failure.REFUSED):
    """Let probes fail, each when it is due; return how long each wait was."""
    found = [breaker.probe_at - breaker.since]
    for _ in range(failures):
        now = breaker.probe_at
        breaker = fail(breaker, failure, now)
        found.append(breaker.probe_at - now)
    return found


@pytest.mark.parametrize("failure", [Failure.SILENT, Failure.TRIPPED, Failure.DENIED])
def test_silence_and_a_server_that_cannot_serve_open_it_at_once(failure):
    assert fail(Breaker(), failure).state == "open"


def test_the_second_refusal_in_a_row_opens_it():
    once = fail(Breaker(), Failure.REFUSED)
    assert once.state == "closed"
    assert fail(once, Failure.REFUSED).state == "open"


def test_a_success_between_two_refusals_keeps_it_closed():
    breaker = succeed(fail(Breaker(), Failure.REFUSED))
    assert fail(breaker, Failure.REFUSED).state == "closed"


def test_batches_that_make_progress_never_open_it():
    breaker = Breaker()
    for now in range(100):
        breaker = fail(breaker, None, float(now))
    assert breaker == Breaker()


def test_probes_come_after_one_two_four_eight_and_then_fifteen_seconds():
    assert waits(opened(), 6) == [1, 2, 4, 8, 15, 15, 15]


def test_a_probe_is_due_only_when_its_wait_is_over():
    breaker = opened(10.0)
    assert not breaker.probe_is_due(10.9)
    assert breaker.probe_is_due(11.0)
    assert not Breaker().probe_is_due(math.inf)


def test_the_draw_takes_up_to_a_fifth_off_a_wait():
    assert fail(Breaker(), Failure.SILENT, 5.0, draw=1.0).probe_at == 5.8
    assert fail(Breaker(), Failure.DENIED, 5.0, draw=1.0).probe_at == 17.0


def test_what_needs_a_human_is_probed_every_fifteen_seconds():
    denied = fail(Breaker(), Failure.DENIED)
    assert waits(denied, 3, Failure.DENIED) == [15, 15, 15, 15]


def test_waiting_for_a_human_does_not_use_up_the_short_waits():
    breaker = fail(Breaker(), Failure.DENIED)
    assert waits(breaker, 2)[1:] == [1, 2]


def test_a_probe_that_made_progress_and_failed_is_a_failed_probe():
    assert waits(opened(), 1, None) == [1, 2]


def test_a_good_probe_lets_it_recover_and_the_recovery_closes_it():
    recovering = succeed(opened(), 1.0)
    assert (recovering.state, recovering.since) == ("recovering", 1.0)
    closed = recovered(recovering, generation=recovering.generation, now=2.0)
    assert (closed.state, closed.since) == ("closed", 2.0)


def test_only_a_recovery_ends_in_closed():
    breaker = opened()
    assert recovered(breaker, generation=breaker.generation, now=1.0) is breaker


def test_a_recovery_that_fails_opens_it_with_the_next_wait():
    recovering = succeed(opened(), 1.0)
    assert fail(fail(recovering, Failure.REFUSED, 2.0), Failure.REFUSED, 2.0).probe_at == 4.0


def test_opening_again_within_thirty_seconds_doubles_the_wait():
    breaker, now, found = opened(), 1.0, []
    for _ in range(6):
        breaker = fail(closed_again(breaker, now), Failure.TRIPPED, now + 29.9)
        found.append(breaker.probe_at - breaker.since)
        now = breaker.probe_at
    assert found == pytest.approx([2, 4, 8, 15, 15, 15])


def test_after_thirty_good_seconds_the_waits_begin_anew():
    breaker = fail(closed_again(opened(), 1.0), Failure.TRIPPED, 31.0)
    assert breaker.probe_at == 32.0


def test_a_batch_of_another_generation_is_not_counted():
    breaker = opened()
    assert failed(breaker, Failure.SILENT, generation=0, now=1.0, draw=0.0) is breaker
    assert succeeded(breaker, generation=0, now=1.0) is breaker
    recovering = succeed(breaker)
    assert recovered(recovering, generation=0, now=1.0) is recovering


def test_while_open_it_tells_since_when():
    breaker = opened(3.0)
    assert fail(breaker, Failure.SILENT, 4.0).since == 3.0


@pytest.mark.parametrize(
    ("timed_out", "heard", "quiet_s", "failure"),
    [
        (True, False, 1.5, Failure.SILENT),
        (True, True, 1.5, Failure.SILENT),
        (True, False, 1.4, None),
        (True, True, 0.05, None),
        (False, False, 2.0, Failure.REFUSED),
        (False, True, 2.0, None),
    ],
)
def test_a_batch_is_judged_by_whether_bytes_came(timed_out, heard, quiet_s, failure):
    assert judge(timed_out=timed_out, heard=heard, quiet_s=quiet_s) is failure


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_storm_of_restarts_is_probed_less_and_less_often(rounds):
    """Redis is up and down every second: it never gets more probes than the waits allow."""
    breaker, now, longest = opened(), 0.0, 1.0
    for passes, draw in rounds:
        now = breaker.probe_at
        if passes:
            breaker = closed_again(breaker, now)
            now += 1.0
        breaker = fail(breaker, Failure.TRIPPED, now, draw)
        longest = min(15.0, longest * 2)
        assert breaker.probe_at - now >= min(longest, 15.0) * 0.8 - 1e-6
