"""tests/faults/rows.toml: each fault that a bot must survive has tests that make it happen."""

import tomllib

import pytest

from ..named_tests import TESTS, assert_is_there

ROWS = tomllib.loads((TESTS / "faults" / "rows.toml").read_text())["row"]
TESTED = [(f"{each['number']} {each['fault']}", name) for each in ROWS for name in each["tests"]]
EXPECTED = [*map(str, range(1, 40)), "16b", "16c", "16d", "23b", "23c", "23d"]


@pytest.mark.parametrize(("row", "name"), TESTED, ids=lambda text: text)
def test_the_test_of_a_fault_is_there(row, name):
    assert_is_there(row, name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["number"])
def test_a_fault_has_a_few_words_and_a_test(row):
    assert row.keys() <= {"number", "fault", "tests", "elsewhere"}
    assert row["tests"]
    assert len(set(row["tests"])) == len(row["tests"])
    assert len(row["fault"]) < 100


def test_no_fault_is_missing_and_none_stands_there_twice():
    numbers = [row["number"] for row in ROWS]
    assert len(numbers) == len(set(numbers))
    assert set(EXPECTED) <= set(numbers)


def test_each_test_of_this_folder_is_one_of_a_fault():
    named = {name.partition("::")[0] for row in ROWS for name in row["tests"]}
    here = {f"faults/{path.name}" for path in (TESTS / "faults").glob("test_*.py")}
    assert here - named == {"faults/test_rows.py"}
