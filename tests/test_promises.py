"""GUARANTEES.md and SECURITY.md: what is promised or defended has tests that show it."""

import re

import pytest

from .named_tests import assert_is_there
from .processes import ROOT

PAGES = {
    page: re.findall(r"^(\d+)\. \*\*(.*?)\*\*.*?((?:\n +.*)*)$", (ROOT / page).read_text(), re.MULTILINE)
    for page in ("GUARANTEES.md", "SECURITY.md")
}
PROMISES = [(f"{page} {number}", text, rest) for page, found in PAGES.items() for number, text, rest in found]


@pytest.mark.parametrize(("place", "promise", "rest"), PROMISES, ids=lambda text: text[:40])
def test_a_promise_names_tests_that_exist(place, promise, rest):
    names = re.findall(r"`(\S+\.py::\w+)`", rest)
    assert names
    for name in names:
        assert_is_there(f"{place}. {promise}", name)


@pytest.mark.parametrize(("page", "at_least"), [("GUARANTEES.md", 16), ("SECURITY.md", 10)])
def test_promises_are_counted(page, at_least):
    numbers = [int(number) for number, _, _ in PAGES[page]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= at_least
