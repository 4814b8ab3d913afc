"""The faults and messages of ./scripts/soak: drawn from a seed."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .soak_rig import Options, cast, draw, parse, share

COUNTS = ("redis_kills", "hangs", "resets", "bot_kills", "actor_crashes", "full_disks")
KINDS = ("redis-kill", "hang", "reset", "bot-kill", "actor-crash", "full-disk")
options = st.builds(
    Options,
    seed=st.integers(0, 10_000),
    seconds=st.floats(5, 3600),
    bots=st.integers(2, 9),
    **{name: st.integers(0, 60) for name in COUNTS},
)


def wishes(*arguments):
    return parse([*arguments, "--seed", "7"])


def test_the_same_seed_draws_the_same_faults_today_and_later():
    drawn = draw(wishes().options)
    assert [(fault.kind, fault.target, fault.how, fault.at) for fault in drawn[:3]] == [
        ("reset", "redis", "kill-pubsub", 0.502),
        ("hang", "redis", "", 3.358),
        ("actor-crash", "shared2", "crash inbox", 5.224),
    ]
    assert draw(wishes().options) == draw(wishes().options)


def test_another_seed_draws_others():
    assert draw(Options(seed=1, resets=5)) != draw(Options(seed=2, resets=5))


@settings(max_examples=60, deadline=None)
@given(options)
def test_there_are_as_many_as_were_asked_for_all_within_the_time(options):
    drawn = draw(options)
    assert Counter(fault.kind for fault in drawn) == Counter(
        {kind: count for kind, name in zip(KINDS, COUNTS, strict=True) if (count := getattr(options, name))}
    )
    assert [fault.number for fault in drawn] == list(range(1, len(drawn) + 1))
    assert all(0 < fault.at <= fault.at + fault.lasts < options.seconds for fault in drawn)
    assert {fault.target for fault in drawn} <= {"redis", "disk", *(bot.name for bot in cast(options).bots)}


@settings(max_examples=60, deadline=None)
@given(options)
def test_what_is_down_is_up_again_before_it_is_taken_down_once_more(options):
    ends = {}
    for fault in draw(options):
        if fault.kind == "actor-crash":
            continue
        assert ends.get(fault.target, 0) <= fault.at
        ends[fault.target] = fault.at + fault.lasts


def test_nothing_strikes_if_nothing_is_asked_for():
    assert draw(Options(seed=1)) == []


@pytest.mark.parametrize(("messages", "senders"), [(10, 3), (0, 2), (2, 5), (10_000, 5)])
def test_senders_share_the_messages_evenly(messages, senders):
    shares = [share(messages, number, senders) for number in range(senders)]
    assert sum(shares) == messages
    assert max(shares) - min(shares) <= 1


def test_bots_share_a_room_and_others_have_an_id_and_a_room_of_their_own():
    everybody = cast(Options(seed=1, bots=5))
    assert [bool(bot.bot_id) for bot in everybody.bots] == [False, False, False, True, True]
    assert len({bot.room for bot in everybody.bots}) == 3
    assert set(everybody.targets) == {bot.room for bot in everybody.bots} | {"own1", "own2"}


def test_what_is_not_asked_for_comes_so_many_a_minute():
    minutes = wishes("--seconds", "120").options
    assert (minutes.messages, minutes.redis_kills, minutes.resets, minutes.full_disks) == (1800, 6, 12, 2)
    assert wishes("--redis-kills", "0").options.redis_kills == 0


@pytest.mark.parametrize(
    "arguments",
    [["--bots", "1"], ["--seconds", "1"], ["--seconds", "nan"], ["--hangs", "-1"], ["--persistence", "x"]],
)
def test_what_makes_no_sense_is_refused(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        wishes(*arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err
