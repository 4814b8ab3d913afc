from collections.abc import MutableSet

import pytest

from botvisor.participants import Participants


@pytest.fixture
def changes():
    return []


@pytest.fixture
def participants(changes):
    return Participants(lambda: changes.append(None))


def test_they_are_a_set_in_the_order_they_came(participants):
    for name in ("b", "a", "c", "a"):
        participants.add(name)
    assert isinstance(participants, MutableSet)
    assert list(participants) == ["b", "a", "c"]
    assert participants == {"a", "b", "c"}
    assert "a" in participants
    assert len(participants) == 3
    assert repr(participants) == "Participants(['b', 'a', 'c'])"


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda p: p.add("new"), ["one", "two", "new"]),
        (lambda p: p.discard("one"), ["two"]),
        (lambda p: p.remove("two"), ["one"]),
        (lambda p: p.update(["new"], ["newer"]), ["one", "two", "new", "newer"]),
        (lambda p: p.clear(), []),
        (lambda p: p.__ior__({"new"}), ["one", "two", "new"]),
        (lambda p: p.__isub__({"one"}), ["two"]),
        (lambda p: p.__iand__({"one"}), ["one"]),
        (lambda p: p.__ixor__({"one"}), ["two"]),
    ],
)
def test_each_change_is_told(change, left, participants, changes):
    participants.update(["one", "two"])
    del changes[:]
    change(participants)
    assert list(participants) == left
    assert len(changes) == abs(len(left) - 2)


@pytest.mark.parametrize(
    "same", [lambda p: p.add("one"), lambda p: p.discard("none"), lambda p: p.update([])]
)
def test_what_changes_nothing_is_not_told(same, participants, changes):
    participants.add("one")
    del changes[:]
    same(participants)
    assert changes == []


def test_they_may_change_while_they_are_iterated_over(participants):
    participants.update(["one", "two"])
    for name in participants:
        participants.discard(name)
    assert not participants


@pytest.mark.parametrize(
    ("value", "error"), [(12, TypeError), (None, TypeError), ("\ud800", UnicodeEncodeError)]
)
def test_what_no_heartbeat_can_say_is_refused(value, error, participants, changes):
    with pytest.raises(error):
        participants.add(value)
    assert changes == []


def test_removing_somebody_who_is_not_there_is_an_error(participants):
    with pytest.raises(KeyError):
        participants.remove("nobody")


def test_what_is_made_of_them_is_a_plain_set(participants):
    participants.add("one")
    assert type(participants | {"two"}) is set
    assert participants | {"two"} == {"one", "two"}
