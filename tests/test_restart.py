import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botvisor.restart import Exhausted, Finished, History, Policy, Restart, decide, running

DEFAULTS = Policy()


def fail(policy, history, now, *, kind="permanent", failed=True, draw=0.0):
    return decide(policy, kind, history, failed=failed, now=now, draw=draw)


@st.composite
def policies(draw):
    values = {
        "period": draw(st.floats(0.5, 600)),
        "base": draw(st.floats(0.001, 20)),
        "cap": draw(st.floats(0.001, 60)),
        "jitter": draw(st.floats(0, 1)),
        "healthy_after": draw(st.floats(0, 100)),
    }
    try:
        return Policy(intensity=draw(st.integers(0, 8)), **values)
    except ValueError:  # it would never trip
        return Policy(intensity=1, **values)


uptimes = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(0, 200)), st.floats(0, 1)), min_size=1, max_size=60
)


@pytest.mark.parametrize(
    ("kind", "failed", "decision"),
    [
        ("permanent", True, Restart),
        ("permanent", False, Restart),
        ("transient", True, Restart),
        ("transient", False, Finished),
        ("temporary", True, Finished),
        ("temporary", False, Finished),
    ],
)
def test_the_restart_type_decides_which_exits_are_followed_by_a_restart(kind, failed, decision):
    assert isinstance(fail(DEFAULTS, History(), 0.0, kind=kind, failed=failed), decision)


def test_backoffs_double_up_to_the_cap():
    policy = Policy(base=1, cap=6, intensity=10, jitter=0)
    history, delays = History(), []
    for _ in range(5):
        decision = fail(policy, history, 0.0)
        history = decision.history
        delays.append(decision.delay_s)
    assert delays == [1, 2, 4, 6, 6]


def test_jitter_only_shortens():
    policy = Policy(base=4, cap=8, jitter=0.25)
    assert fail(policy, History(), 0.0, draw=0.0).delay_s == 4
    assert fail(policy, History(), 0.0, draw=1.0).delay_s == 3


def test_one_restart_more_than_the_intensity_is_refused():
    policy = Policy(intensity=2, period=60, base=0.1)
    history = History()
    for left in (1, 0):
        decision = fail(policy, history, 0.0)
        assert decision.budget_left == left
        history = decision.history
    assert isinstance(fail(policy, history, 59.0), Exhausted)


def test_the_budget_comes_back_when_the_restarts_leave_the_window():
    policy = Policy(intensity=1, period=60, base=0.5, jitter=0)
    history = fail(policy, History(), 0.0).history
    assert isinstance(fail(policy, history, 60.4), Exhausted)
    assert isinstance(fail(policy, history, 60.6), Restart)


def test_with_an_intensity_of_zero_the_first_failure_is_the_last():
    assert isinstance(fail(Policy(intensity=0), History(), 0.0), Exhausted)


def test_a_failed_start_counts_as_a_failure_in_a_row():
    history = History(streak=3, running_since=None)
    assert fail(DEFAULTS, history, 1_000.0).history.streak == 4


@pytest.mark.parametrize(("up", "streak"), [(29.9, 4), (30.0, 1), (3_000.0, 1)])
def test_the_streak_is_reset_only_after_a_healthy_time(up, streak):
    history = running(History(streak=3), 100.0)
    assert fail(DEFAULTS, history, 100.0 + up).history.streak == streak


@pytest.mark.parametrize(
    "values",
    [
        {"restart": "sometimes"},
        {"on_exhausted": "explode"},
        {"intensity": -1},
        {"period": 0},
        {"base": -1},
        {"cap": math.nan},
        {"jitter": 1.5},
        {"jitter": math.nan},
        {"healthy_after": -1},
        {"probe_after": math.inf},
        {"start_timeout": 0},
        {"stop_timeout": -5},
    ],
)
def test_values_out_of_range_are_refused_by_name(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        Policy(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"intensity": 10, "base": 1, "cap": 100, "period": 60},
        {"intensity": 2, "base": 10, "cap": 20, "jitter": 0, "period": 20},
        {"intensity": 1_000_000_000},
    ],
)
def test_limits_that_can_never_be_reached_are_refused(values):
    with pytest.raises(ValueError, match="never"):
        Policy(**values)


def test_a_limit_that_can_just_be_reached_is_accepted():
    Policy(intensity=2, base=10, cap=20, jitter=0, period=20.1)


def test_constant_backoffs_are_judged_as_such():
    Policy(intensity=10, base=1, cap=100, period=60, healthy_after=0)


@settings(deadline=None)
@given(policies(), uptimes)
def test_no_window_ever_holds_more_restarts_than_the_intensity(policy, crashes):
    now, history, restarts = 0.0, running(History(), 0.0), []
    for up, draw in crashes:
        now += up or 0.0
        match fail(policy, history, now, draw=draw):
            case Restart(delay_s, history, _):
                now += delay_s
                restarts.append(now)
                if up is not None:
                    history = running(history, now)
            case Exhausted(history):
                now += policy.probe_after  # a probe is no restart
    for first, beyond in zip(restarts, restarts[policy.intensity :], strict=False):
        assert beyond - first >= policy.period * (1 - 1e-9)


@settings(deadline=None)
@given(policies(), uptimes)
def test_backoffs_stay_within_the_cap_and_the_jitter(policy, crashes):
    now, history = 0.0, History()
    for up, draw in crashes:
        now += up or 0.0
        decision = fail(policy, history, now, draw=draw)
        history = running(decision.history, now) if up is not None else decision.history
        if isinstance(decision, Restart):
            least = min(policy.base, policy.cap) * (1 - policy.jitter)
            assert least * (1 - 1e-9) <= decision.delay_s <= policy.cap
            now += decision.delay_s


@settings(deadline=None)
@given(policies())
def test_a_child_that_fails_at_once_uses_any_budget_up(policy):
    now, history = 0.0, History()
    for _ in range(policy.intensity):
        decision = fail(policy, history, now, draw=1.0)
        assert isinstance(decision, Restart)
        now += decision.delay_s
        history = running(decision.history, now) if policy.healthy_after == 0 else decision.history
    assert isinstance(fail(policy, history, now * (1 - 1e-9), draw=1.0), Exhausted)


@settings(deadline=None)
@given(policies(), st.floats(0, 1))
def test_a_decision_depends_on_nothing_but_its_arguments(policy, draw):
    history = History((1.0, 2.0), 2, 3.0)
    assert fail(policy, history, 4.0, draw=draw) == fail(policy, history, 4.0, draw=draw)
