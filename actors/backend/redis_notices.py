"""Warnings about data that somebody left on Redis and that cannot be used, each once."""

from __future__ import annotations

from .quarantine import Notify

_REMEMBERED = 1_000


class Notices:
    """Says things once, or each time.

    Args:
        notify: told, with a level and a text.
    """

    def __init__(self, notify: Notify) -> None:
        self._notify = notify
        self._told: set[str] = set()

    def warn(self, text: str) -> None:
        """Warn each time."""
        self._notify("WARNING", text)

    def once(self, text: str, about: str = "", *, level: str = "WARNING") -> None:
        """Warn, unless that was said already.

        Args:
            text: the warning.
            about: what makes it the same warning; the text itself by default.
            level: how bad it is.
        """
        topic = about or text
        # When there is this much to warn of, the rest is no news.
        if topic not in self._told and len(self._told) < _REMEMBERED:
            self._told.add(topic)
            self._notify(level, text)

    def settled(self, about: str) -> None:
        """Warn again the next time: it is in order now."""
        self._told.discard(about)
