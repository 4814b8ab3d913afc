"""What a benchmark has measured: tables of contenders, and what they aim at."""

from __future__ import annotations

import msgspec

from .figures import Spread, ratios, spread


class Aim(msgspec.Struct, kw_only=True):
    """What a figure should be, as a multiple of another contender's or, without one, by itself.

    Args:
        contender: whose figure.
        column: of which column.
        against: the other contender; empty for an absolute figure.
        at_least: the least that will do.
        at_most: the most that will do.
    """

    contender: str
    column: str
    against: str = ""
    at_least: float | None = None
    at_most: float | None = None


class Table(msgspec.Struct, kw_only=True):
    """Figures of contenders, a list for each with one figure of each round.

    Args:
        title: what was measured.
        unit: of the figures.
        baseline: the contender that all others are multiples of; empty for a table without ratios.
        digits: how many are shown behind a figure's point.
        rows: the figures, by contender and column.
        aims: what they should be.
        note: what one has to know to read them.
    """

    title: str
    unit: str
    baseline: str
    digits: int = 0
    rows: dict[str, dict[str, list[float]]] = {}
    aims: list[Aim] = []
    note: str = ""

    def add(self, contender: str, column: str, figure: float) -> None:
        """Add a round's figure."""
        self.rows.setdefault(contender, {}).setdefault(column, []).append(figure)

    def columns(self) -> list[str]:
        """Return the columns, in the order in which they were first filled."""
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    def figure(self, contender: str, column: str) -> Spread | None:
        """Return a contender's figure, or None where it has none."""
        found = self.rows.get(contender, {}).get(column)
        return spread(found) if found else None

    def ratio(self, contender: str, column: str, against: str = "") -> Spread | None:
        """Return how many times another's, by default the baseline's, it is; None if either is missing."""
        others = self.rows.get(against or self.baseline, {}).get(column)
        found = self.rows.get(contender, {}).get(column)
        if not found or not others or len(found) != len(others):
            return None
        multiples = ratios(found, others)
        return spread(multiples) if multiples else None

    def verdict(self, aim: Aim) -> str:
        """Return an aim in words and whether it was met; empty where nothing was measured."""
        if aim.against:
            found = self.ratio(aim.contender, aim.column, aim.against)
            unit, whose = "x", f" {aim.against}"
        else:
            found, unit, whose = self.figure(aim.contender, aim.column), f" {self.unit}", ""
        if found is None:
            return ""
        least, most = aim.at_least, aim.at_most
        met = (least is None or found.median >= least) and (most is None or found.median <= most)
        wanted = f"at least {least:g}" if least is not None else f"at most {most:g}"
        return (
            f"{'met' if met else 'NOT met'}: {aim.contender}, {aim.column}: "
            f"{number(found.median)}{unit}{whose}; aim: {wanted}{unit}"
        )

    def verdicts(self) -> list[str]:
        """Return all its aims that were measured, in words."""
        return [words for words in map(self.verdict, self.aims) if words]


class Result(msgspec.Struct, kw_only=True):
    """One benchmark's run.

    Args:
        benchmark: its name.
        rounds: how many there were.
        took_s: how long it took, in seconds.
        versions: of what took part.
        load: the machine's load average at the begin and at the end.
        left_out: contenders that did not take part, and why.
        tables: what was measured.
    """

    benchmark: str
    rounds: int
    took_s: float = 0.0
    versions: dict[str, str] = {}
    load: tuple[float, float] = (0.0, 0.0)
    left_out: list[str] = []
    tables: list[Table] = []


class Report(msgspec.Struct, kw_only=True):
    """All that was measured by one command.

    Args:
        machine: its kind, in words.
        when: the day.
        quick: whether the rounds were few and short.
        results: a benchmark's each.
    """

    machine: str
    when: str
    quick: bool
    results: list[Result] = []


def number(figure: float, digits: int | None = None) -> str:
    """Return a figure as people read it: three digits that count, unless it is told how many."""
    if digits is not None:
        return f"{figure:,.{digits}f}"
    size = abs(figure)
    return f"{figure:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
