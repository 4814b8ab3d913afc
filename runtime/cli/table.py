"""A table for a terminal: as wide as it has to be, and no wider than the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from .output import is_pretty, printable, width

_GAP = "  "
_LEAST = 6  # characters that are left of a cell that is cut
COLOURS = {
    "healthy": "green",
    "starting": "cyan",
    "degraded": "yellow",
    "draining": "yellow",
    "blocked": "bold red",
    "lost": "red",
    "stopped": "dim",
    "dead": "red",
    "claimed": "cyan",
    "zombie": "bold red",
    "suspect": "yellow",
    "ok": "green",
    "warning": "yellow",
    "problem": "bold red",
}


def show(columns: Sequence[str], rows: Sequence[Sequence[str]], expendable: Sequence[str] = ()) -> str:
    """Return a table for standard output: coloured on a terminal if rich is there, else plain.

    Args:
        columns: the titles.
        rows: the cells; control characters in them are shown escaped.
        expendable: the titles of columns that are left out on a terminal too narrow for all, in this order.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    limit = width()
    if limit is not None:
        columns, cells = fit(columns, cells, expendable, limit)
    return _drawn(columns, cells) if is_pretty() else table(columns, cells)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a plain table with aligned columns.

    Args:
        columns: the titles.
        rows: the cells; control characters in them are shown escaped.

    Returns:
        The lines, without a newline at the end.
    """
    lines = [list(columns), *([printable(cell) for cell in row] for row in rows)]
    widths = _widths(lines)
    return "\n".join(
        _GAP.join(
            cell + " " * (wide - _cells(cell)) for cell, wide in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    )


def fit(
    columns: Sequence[str], rows: Sequence[Sequence[str]], expendable: Sequence[str], limit: int
) -> tuple[list[str], list[list[str]]]:
    """Return a table that fits into some columns of a terminal.

    First the expendable columns go, one after the other; then the widest cells are cut.

    Args:
        columns: the titles.
        rows: the cells.
        expendable: titles of columns that may be left out, the least important first.
        limit: how wide it may be, in characters.
    """
    titles, cells = list(columns), [list(row) for row in rows]
    for name in expendable:
        if _total(_widths([titles, *cells])) <= limit:
            break
        place = titles.index(name)
        for line in (titles, *cells):
            del line[place]
    widths = _widths([titles, *cells])
    while _total(widths) > limit and max(widths) > _LEAST:
        # Cut the widest to the second widest, as far as need be: nobody loses more than another keeps.
        widest = max(widths)
        place = widths.index(widest)
        others = [each for each in widths if each < widest] or [_LEAST]
        excess = _total(widths) - limit
        widths[place] = max(_LEAST, min(widest - 1, max(max(others), widest - excess)))
    return titles, [[_cut(cell, wide) for cell, wide in zip(line, widths, strict=True)] for line in cells]


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes: Chinese letters take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(sign) else 2 if east_asian_width(sign) in "WF" else 1 for sign in text)


def _cut(cell: str, limit: int) -> str:
    if _cells(cell) <= limit:
        return cell
    kept = cell[: limit - 1]
    while _cells(kept) > limit - 1:
        kept = kept[:-1]
    return f"{kept}…"


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_cells, column)) for column in zip(*lines, strict=True)]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if console.no_color or console.is_dumb_terminal:
        return table(columns, rows)
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1), collapse_padding=False)
    for title in columns:
        drawn.add_column(title, no_wrap=True, overflow="ellipsis")
    for row in rows:
        drawn.add_row(*(Text(cell, style=COLOURS.get(cell, "")) for cell in row))
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n"))
