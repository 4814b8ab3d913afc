"""What rounds add up to: medians, spreads, and ratios between figures of one round."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """A median, and the least and the most that it stands for."""

    median: float
    least: float
    most: float


def spread(figures: Sequence[float]) -> Spread:
    """Return the median of some figures with their least and most.

    Raises:
        ValueError: when there is none.
    """
    if not figures:
        raise ValueError("no figures: nothing was measured")
    return Spread(statistics.median(figures), min(figures), max(figures))


def ratios(figures: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return how many times each figure is the other one of the same round.

    Rounds in which the other is 0 are left out: nothing is a multiple of that.

    Raises:
        ValueError: when they are not of the same rounds.
    """
    return [figure / other for figure, other in zip(figures, others, strict=True) if other]


def quantile(figures: Sequence[float], share: float) -> float:
    """Return the figure that a share of all does not exceed, such as 0.99; 0 when there are none."""
    if not figures:
        return 0.0
    ordered = sorted(figures)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
