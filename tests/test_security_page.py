"""SECURITY.md: what it says is defended has tests that show it."""

import re

import pytest

from .named_tests import assert_is_there
from .processes import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
DEFENDED = re.findall(r"^(\d+)\. \*\*(.*?)\*\*.*?((?:\n +.*)*)$", TEXT, re.MULTILINE)


@pytest.mark.parametrize(("number", "defended", "rest"), DEFENDED, ids=lambda text: text[:40])
def test_what_is_defended_names_tests_that_exist(number, defended, rest):
    names = re.findall(r"`(\S+\.py::\w+)`", rest)
    assert names
    for name in names:
        assert_is_there(f"{number}. {defended}", name)


def test_what_is_defended_is_counted():
    assert [int(number) for number, _, _ in DEFENDED] == list(range(1, len(DEFENDED) + 1))
    assert len(DEFENDED) > 8
