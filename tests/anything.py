"""Strategies for what nobody honest writes, and how often it is tried."""

import json
import os
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st


def tried(count):
    """So many examples, each within two seconds on a busy machine; what fails is told, to be tried again.

    With HYPOTHESIS_PROFILE=thorough a hundred times as many.
    """
    return settings(
        max_examples=count * (100 if os.environ.get("HYPOTHESIS_PROFILE") == "thorough" else 1),
        deadline=timedelta(seconds=2),
        print_blob=True,
        # Without an explanation: before Python 3.12 it traces every line.
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow],
    )


WORDS = st.text(max_size=6)
NUMBERS = st.integers() | st.sampled_from([10**400, -(10**400), 2**63, 1e308, -1e308, 1e-320, 0, -1])
SCALARS = st.none() | st.booleans() | NUMBERS | WORDS
JSON = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(WORDS, SCALARS, max_size=2)


def objects(names, values=JSON):
    """JSON objects that have some of these names."""
    return st.dictionaries(st.sampled_from(list(names)) | WORDS, values, max_size=6)


def encoded(values):
    """The same as bytes: whole, cut off, with something else inside; and any other bytes."""
    whole = values.map(lambda value: json.dumps(value).encode())
    cut = st.tuples(whole, st.integers(0, 80)).map(lambda pair: pair[0][: pair[1]])
    damaged = st.tuples(whole, st.integers(0, 80), st.binary(max_size=3)).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
    )
    return whole | cut | damaged | st.binary(max_size=40)


def read_or(error, read, *arguments):
    """What a reader gives; None where it raises what it may."""
    try:
        return read(*arguments)
    except error:
        return None
