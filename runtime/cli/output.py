"""What a command says: its answer on standard output, everything else on standard error."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import textwrap
from typing import Any

import msgspec

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


def printable(text: str) -> str:
    """Return a text whose control characters are shown escaped: ids and rooms come from anybody."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def lag(value: float | None) -> str:
    """Return a lag, given in milliseconds, as people read it; ``-`` when it is not known."""
    if value is None:
        return "-"
    return f"{value:g}ms" if value < 1000 else duration(value / 1000)


def duration(seconds: float | None) -> str:
    """Return a duration as people write it, such as ``3m12s``; ``-`` when it is not known."""
    if seconds is None or seconds != seconds or seconds == float("inf"):
        return "-"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24:02d}h"
