"""Plots of tables, by matplotlib where it is installed: a bar for each contender, and its spread."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .tables import Report, Table

OURS, OTHERS, BASELINE = "#2a78d6", "#9aa3ad", "#c9ced4"
_LOG_FROM = 20.0  # the greatest ratio that a linear scale can show beside 1


def draw(report: Report, folder: Path, kind: str) -> list[Path]:
    """Draw each table that has a baseline.

    Args:
        report: what was measured.
        folder: where the plots go.
        kind: ``svg`` or ``png``.

    Returns:
        The files.

    Raises:
        ImportError: when matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ImportError("matplotlib is not installed: no plots")
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "botvisor"  # the same figures make the same file
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for result in report.results:
        for number, table in enumerate((each for each in result.tables if each.baseline), 1):
            file = folder / f"{result.benchmark}-{number}.{kind}"
            _draw_table(table, file)
            files.append(file)
    return files


def _draw_table(table: Table, file: Path) -> None:
    from matplotlib import pyplot

    columns, names = table.columns(), list(table.rows)
    figure, panels = pyplot.subplots(
        1,
        len(columns),
        figsize=(2.2 + 2.6 * len(columns), 0.9 + 0.32 * len(names)),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for panel, column in zip(panels[0], columns, strict=True):
        _draw_column(panel, table, column, names)
    figure.suptitle(f"{table.title} ({table.unit}), x {table.baseline}", fontsize=10)
    metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {}
    figure.savefig(file, metadata=metadata)
    pyplot.close(figure)


def _draw_column(panel: Any, table: Table, column: str, names: Sequence[str]) -> None:
    greatest = 1.0
    least = 1.0
    for place, name in enumerate(names):
        ratio = table.ratio(name, column)
        if ratio is None:
            continue
        colour = OURS if name.startswith("botvisor") else BASELINE if name == table.baseline else OTHERS
        panel.barh(place, ratio.median, color=colour, height=0.7)
        error = [[ratio.median - ratio.least], [ratio.most - ratio.median]]
        panel.errorbar(ratio.median, place, xerr=error, color="#333333", capsize=2, linewidth=0.8)
        greatest, least = max(greatest, ratio.most), min(least, ratio.median or 1.0)
    if greatest > _LOG_FROM or least < 1 / _LOG_FROM:
        panel.set_xscale("log")
    panel.set_yticks(range(len(names)), names, fontsize=8)
    panel.invert_yaxis() if not panel.yaxis_inverted() else None
    panel.axvline(1.0, color="#333333", linewidth=0.6, linestyle=":")
    panel.set_title(column, fontsize=8)
    panel.tick_params(axis="x", labelsize=7)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
