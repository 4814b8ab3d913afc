"""GUARANTEES.md: each promise names the tests that show it."""

import re

import pytest

from .named_tests import assert_is_there
from .processes import ROOT

TEXT = (ROOT / "GUARANTEES.md").read_text()
PROMISES = re.findall(r"^(\d+)\. \*\*(.*?)\*\*.*?((?:\n +.*)*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("number", "promise", "rest"), PROMISES, ids=lambda text: text[:40])
def test_a_promise_names_tests_that_exist(number, promise, rest):
    names = re.findall(r"`(\S+\.py::\w+)`", rest)
    assert names
    for name in names:
        assert_is_there(f"{number}. {promise}", name)


def test_promises_are_counted():
    assert [int(number) for number, _, _ in PROMISES] == list(range(1, len(PROMISES) + 1))
    assert len(PROMISES) > 10
