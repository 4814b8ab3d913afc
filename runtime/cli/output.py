"""What a command says: its answer on standard output, everything else on standard error."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import textwrap
from typing import Any

import msgspec

from botvisor.fleet.words import printable

NARROW = 40  # columns; nothing is squeezed further
WIDE = 100  # columns; a longer line of prose is hard to read


def say(text: str) -> None:
    """Print a command's answer."""
    print(text)  # noqa: T201 - a command for a terminal


def say_json(document: Any) -> None:
    """Print one JSON document."""
    try:
        text = msgspec.json.encode(document).decode()
    except OverflowError:  # a number of more than 64 bits, as somebody else has written it
        text = json.dumps(document, ensure_ascii=False)
    print(text)  # noqa: T201 - as above


def complain(text: str) -> None:
    """Print on standard error what is wrong."""
    lines = "\n".join(map(printable, text.split("\n")))
    print(f"botvisor: {lines}", file=sys.stderr)  # noqa: T201


def warn_if_away(reason: str | None, shown: str) -> None:
    """Tell on standard error that Redis is not used although it should be.

    Args:
        reason: why; None when it is used.
        shown: what is shown in place of what is on Redis.
    """
    if reason is not None:
        complain(f"Redis is away ({reason}): {shown}")


def is_terminal() -> bool:
    """Return whether somebody looks at standard output, and no other program reads it."""
    return sys.stdout.isatty()


def is_pretty() -> bool:
    """Return whether the answer may be drawn by rich: on a terminal, with the extra ``ops`` installed."""
    return is_terminal() and importlib.util.find_spec("rich") is not None


def width() -> int | None:
    """Return how many columns the terminal has; None when standard output is none, and lines may be long."""
    return max(NARROW, shutil.get_terminal_size().columns) if is_terminal() else None


def paragraph(text: str) -> str:
    """Return prose as it fits the terminal; in one line where there is none."""
    columns = width()
    return text if columns is None else textwrap.fill(text, min(columns, WIDE))
