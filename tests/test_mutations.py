"""The table of safeguards that ./scripts/mutate takes out: it fits the code as it is."""

import importlib.util

import pytest

from .named_tests import assert_is_there
from .processes import ROOT

_spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts" / "mutations" / "mutate.py")
mutate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mutate)
REMOVALS = mutate.removals()


@pytest.mark.parametrize("removal", REMOVALS, ids=lambda removal: removal.name)
def test_a_safeguard_is_where_the_table_says_and_its_tests_exist(removal):
    source = (ROOT / removal.file).read_text()
    assert mutate.applied(removal, source) != source
    for name in removal.tests:
        assert_is_there(removal.name, name)


def test_no_safeguard_stands_there_twice():
    names = [removal.name for removal in REMOVALS]
    assert len(set(names)) == len(names)


def test_a_text_that_is_not_there_is_an_error():
    with pytest.raises(ValueError, match="0 times"):
        mutate.applied(REMOVALS[0], "something else")
