"""What a bot's figures were: the last half hour, as the web page and `botvisor top` plot it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable

SPAN_S = 1800.0
LIMIT = 900  # points; at one look every two seconds there are no more in the span
COLUMNS = ("at", "lag_ms", "restarts", "rss_mb", "depth")

_WIDTH = len(COLUMNS)
_BYTES_OF_A_FLEET = 64 * 1024 * 1024


class History:
    """The points of one bot, oldest first; packed, as there may be a thousand bots.

    Args:
        limit: how many points are kept.
        span_s: for how long, in seconds.
    """

    def __init__(self, limit: int = LIMIT, span_s: float = SPAN_S) -> None:
        self._limit = limit
        self._span_s = span_s
        self._values = array("d")

    def add(self, at: float, figures: Iterable[float | None]) -> None:
        """Add a point.

        Args:
            at: when, in seconds since the epoch.
            figures: the values of the other `COLUMNS`; None where one is not known.
        """
        values = self._values
        values.append(at)
        values.extend(math.nan if figure is None else figure for figure in figures)
        count = len(values) // _WIDTH
        old = max(0, count - self._limit)
        while old < count and values[old * _WIDTH] < at - self._span_s:
            old += 1
        del values[: old * _WIDTH]

    def columns(self) -> dict[str, list[float | None]]:
        """Return the points by column; None stands for what was not known."""
        return {
            name: [None if math.isnan(value) else value for value in self._values[place::_WIDTH]]
            for place, name in enumerate(COLUMNS)
        }

    def tail(self, name: str, count: int) -> list[float | None]:
        """Return the last values of a column, as many as there are up to a count.

        Args:
            name: one of `COLUMNS`.
            count: how many are wanted, at least 1.
        """
        values = self._values[-count * _WIDTH :][COLUMNS.index(name) :: _WIDTH]
        return [None if math.isnan(value) else value for value in values]


def limit_for(bots: int) -> int:
    """Return how many points each bot of a fleet may have, so that all of them fit into 64 MiB."""
    return max(10, min(LIMIT, _BYTES_OF_A_FLEET // (max(1, bots) * _WIDTH * 8)))
