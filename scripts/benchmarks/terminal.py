"""Tables in a terminal: in colour with rich where there is one, plain where they are piped."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TextIO

from .tables import Result, Table, number

OURS = "botvisor"


def show(result: Result, out: TextIO = sys.stdout) -> None:
    """Print a benchmark's tables."""
    for table in result.tables:
        print(file=out)
        print(heading(result, table), file=out)
        if out.isatty() and find_spec("rich"):
            _show_rich(table)
        else:
            print("\n".join(plain(table)), file=out)
        for words in table.verdicts():
            print(f"  {words}", file=out)
        if table.note:
            print(f"  {table.note}", file=out)
    for words in result.left_out:
        print(f"  left out: {words}", file=out)
    out.flush()


def heading(result: Result, table: Table) -> str:
    """Return what a table is about."""
    than = f", x {table.baseline}" if table.baseline else ""
    return f"{table.title}{than}: median (least-most) of {result.rounds} rounds, {table.unit}"


def cell(table: Table, contender: str, column: str) -> str:
    """Return a cell: how many times the baseline with the spread, and the figure itself."""
    figure = table.figure(contender, column)
    if figure is None:
        return "-"
    words = number(figure.median, table.digits)
    multiple = table.ratio(contender, column) if table.baseline else None
    if multiple is None:
        return f"{words} ({number(figure.least, table.digits)}-{number(figure.most, table.digits)})"
    if contender == table.baseline:
        return f"1  {words:>9}"
    return f"{number(multiple.median)} ({number(multiple.least)}-{number(multiple.most)}) {words:>9}"


def plain(table: Table) -> list[str]:
    """Return a table's lines, in columns."""
    columns = table.columns()
    rows = [["", *columns]]
    rows += [[name, *(cell(table, name, column) for column in columns)] for name in table.rows]
    widths = [max(len(row[place]) for row in rows) for place in range(len(columns) + 1)]
    return [
        "  ".join(
            word.rjust(width) if place else word.ljust(width)
            for place, (word, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def markdown(table: Table) -> list[str]:
    """Return a table's lines, as Markdown has them."""
    columns = table.columns()
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'--:|' * len(columns)}"]
    for name in table.rows:
        cells = " | ".join(" ".join(cell(table, name, column).split()) for column in columns)
        lines.append(f"| {name} | {cells} |")
    return lines


def _show_rich(table: Table) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable("", box=SIMPLE_HEAD)
    for column in table.columns():
        drawn.add_column(Text(column), justify="right")
    for name in table.rows:
        style = "bold green" if name.startswith(OURS) else "dim" if name == table.baseline else ""
        drawn.add_row(
            *(Text(word) for word in [name, *(cell(table, name, c) for c in table.columns())]), style=style
        )
    Console().print(drawn)
