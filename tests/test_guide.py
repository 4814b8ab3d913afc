"""tests/guide.toml: each promise of the user's guide has a test that is there, or says what we do instead."""

import tomllib

import pytest

from .named_tests import TESTS, assert_is_there

PROMISES = tomllib.loads((TESTS / "guide.toml").read_text())["promise"]
TESTED = [(each["about"], name) for each in PROMISES for name in each.get("tests", ())]


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise["about"])
def test_a_promise_is_tested_or_says_what_we_do_instead(promise):
    assert promise.keys() <= {"about", "tests", "deviation"}
    assert promise.get("tests") or promise.get("deviation")
    assert len(promise["about"]) < 100  # a few words


@pytest.mark.parametrize(("about", "name"), TESTED, ids=lambda text: text)
def test_the_test_that_shows_it_is_there(about, name):
    assert_is_there(about, name)


def test_no_promise_stands_there_twice():
    abouts = [promise["about"] for promise in PROMISES]
    assert len(abouts) == len(set(abouts)) > 60
    for promise in PROMISES:
        tests = promise.get("tests", [])
        assert len(tests) == len(set(tests))
