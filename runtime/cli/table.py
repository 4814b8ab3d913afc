"""A table for a terminal: as wide as it has to be, and no wider than the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from unicodedata import combining, east_asian_width

from botvisor.fleet.words import printable

from .output import is_pretty, width

_GAP = "  "
_LEAST = 6  # characters that are left of a cell that is cut
_ENDS_MATTER = frozenset({"ROOM"})  # of these the beginning is cut off: rooms of one host begin alike
_NONE: Mapping[str, int] = MappingProxyType({})
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


def show(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    expendable: Sequence[str] = (),
    elastic: Mapping[str, int] = _NONE,
) -> str:
    """Return a table for standard output: coloured on a terminal if rich is there, else plain.

    Args:
        columns: the titles.
        rows: the cells; control characters in them are shown escaped.
        expendable: the titles of columns that are left out on a terminal too narrow for all, in this order.
        elastic: columns of long texts: to how many characters each is cut before a column is left out.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    limit = width()
    if limit is not None:
        columns, cells = fit(columns, cells, expendable, limit, elastic)
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
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    expendable: Sequence[str],
    limit: int,
    elastic: Mapping[str, int] = _NONE,
) -> tuple[list[str], list[list[str]]]:
    """Return a table that fits into some columns of a terminal.

    Long texts are cut as far as they may be, then the expendable columns go, one after the other; then the
    widest cells are cut further.

    Args:
        columns: the titles.
        rows: the cells.
        expendable: titles of columns that may be left out, the least important first.
        limit: how wide it may be, in characters.
        elastic: columns of long texts: to how many characters each is cut before a column is left out.
    """
    titles, cells = list(columns), [list(row) for row in rows]
    for name in expendable:
        if _total(_least(titles, cells, elastic)) <= limit:
            break
        place = titles.index(name)
        for line in (titles, *cells):
            del line[place]
    widths = _widths([titles, *cells])
    least = _least(titles, cells, elastic)
    if _total(least) > limit:
        widths, least = least, [_LEAST] * len(titles)
    while _total(widths) > limit:
        # One off the widest that may be cut, again and again: nobody loses more than another keeps.
        places = [place for place, wide in enumerate(widths) if wide > least[place]]
        if not places:
            break
        widths[max(places, key=widths.__getitem__)] -= 1
    cut = [_cut_head if title in _ENDS_MATTER else _cut for title in titles]
    return titles, [
        [f(cell, wide) for f, cell, wide in zip(cut, line, widths, strict=True)] for line in cells
    ]


def _least(titles: Sequence[str], cells: Sequence[Sequence[str]], elastic: Mapping[str, int]) -> list[int]:
    """Return how wide the columns are when those of long texts are cut as far as they may be."""
    widths = _widths([titles, *cells])
    return [min(wide, elastic.get(title, wide)) for title, wide in zip(titles, widths, strict=True)]


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


def _cut_head(cell: str, limit: int) -> str:
    if _cells(cell) <= limit:
        return cell
    kept = cell[1 - limit :]
    while _cells(kept) > limit - 1:
        kept = kept[1:]
    return f"…{kept}"


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
