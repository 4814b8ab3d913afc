"""A thorough run of the models takes as long as it takes."""

from pathlib import Path

import pytest

from .budget import THOROUGH

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    for item in items:
        if THOROUGH and item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(0))
