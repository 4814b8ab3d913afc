"""The last lines of `botvisor top`: what happened last, and which key does what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from botvisor.fleet.words import printable

_GAP = "   "


class Footer(Vertical):
    """Tells the news in one line, and the keys in as many as they take.

    Args:
        keys: the keys that are always shown, each with what it does.
        more: those that are shown when somebody asks for them.
    """

    DEFAULT_CSS = """
    Footer { height: auto; dock: bottom; }
    Footer > Static { width: 100%; height: auto; }
    Footer > #news { color: $text-warning; }
    Footer > #keys { background: $panel; color: $text; }
    """
    ACTIONS: ClassVar = (("m", "message"), ("d", "drain"), ("x", "stop"), ("t", "stack"))

    def __init__(self, keys: Sequence[tuple[str, str]], more: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._keys = keys
        self._more = more
        self._all = False
        self._news = Static(id="news")
        self._shown = Static(id="keys")

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield self._news
        yield self._shown

    def on_resize(self, _: events.Resize) -> None:
        """Lay the keys out anew."""
        self._show()

    def tell(self, news: str) -> None:
        """Tell what happened last; nothing if it is empty."""
        self._news.display = bool(news)
        self._news.update(Text(printable(news)))

    def toggle(self) -> None:
        """Show all keys, or some of them."""
        self._all = not self._all
        self._show()

    def _show(self) -> None:
        keys = [*self._keys, *(self._more if self._all else ())]
        self._shown.update(laid_out(keys, self.size.width, aligned=self._all))


def laid_out(keys: Sequence[tuple[str, str]], width: int, *, aligned: bool) -> Text:
    """Return keys and what they do, in as many lines as it takes.

    Args:
        keys: the keys.
        width: the terminal's, in characters.
        aligned: whether they stand in columns.
    """
    widest = max(len(key) + len(does) for key, does in keys) + 1 if aligned else 0
    text, used = Text(), 0
    for key, does in keys:
        takes = max(widest, len(key) + len(does) + 1)
        if used and used + len(_GAP) + takes > width:
            text.append("\n")
            used = 0
        elif used:
            text.append(_GAP)
            used += len(_GAP)
        text.append(key, style="bold").append(f" {does}".ljust(takes - len(key)))
        used += takes
    return text
