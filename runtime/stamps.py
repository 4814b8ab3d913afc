"""Stamps: times as everything that is written down has them."""

from __future__ import annotations

import functools
from datetime import UTC, datetime


@functools.lru_cache(maxsize=64)
def stamp_of(at_ms: int) -> str:
    """Return a time as ISO 8601 in UTC. Most of what is written comes in bursts, many in one millisecond.

    Args:
        at_ms: milliseconds since 1970.
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
