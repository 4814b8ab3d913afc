"""Times and texts as people are shown them."""

from __future__ import annotations


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
