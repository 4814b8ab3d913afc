"""The table of `botvisor top`: draws the lines that are on the screen, however many bots there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from botvisor.fleet.board import Snapshot
from botvisor.fleet.words import printable

from .table import COLOURS
from .top_rows import BAR_COLOURS, GAP, TREND, Column, View, bar, cell, layout

_GAP = " " * GAP


class FleetTable(ScrollView, can_focus=True):
    """The bots, with a cursor that stays on its bot however the rows move.

    Args:
        lags: returns the last lags of a bot in ms, at most so many.
    """

    DEFAULT_CSS = """
    FleetTable { height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1; }
    FleetTable > .fleet-table--titles { text-style: bold; color: $text-muted; }
    FleetTable > .fleet-table--cursor { background: $panel; text-style: bold; }
    FleetTable > .fleet-table--away { background: $surface; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "fleet-table--titles",
        "fleet-table--cursor",
        "fleet-table--away",
    }
    BINDINGS: ClassVar = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000000)", show=False),
        Binding("end,G", "move(1000000000)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Moved(Message):
        """The cursor is on another bot."""

    class Opened(Message):
        """Somebody wants to know more of a bot.

        Args:
            bot_id: the bot.
        """

        def __init__(self, bot_id: str) -> None:
            self.bot_id = bot_id
            super().__init__()

    def __init__(self, lags: Callable[[str, int], Sequence[float | None]]) -> None:
        super().__init__()
        self._lags = lags
        self._rows: Sequence[Snapshot] = ()
        self._view = View()
        self._columns: list[tuple[Column, int]] = []
        self._cursor = 0
        self._empty = ""

    @property
    def chosen(self) -> Snapshot | None:
        """The bot that the cursor is on."""
        return self._rows[self._cursor] if self._rows else None

    def show(self, rows: Sequence[Snapshot], view: View, empty: str) -> None:
        """Show these rows.

        Args:
            rows: the bots, sorted.
            view: how they are sorted.
            empty: what to say when there are none.
        """
        old = self.chosen
        self._rows, self._view, self._empty = rows, view, empty
        if old is not None:
            bot_id = old.row["bot_id"]
            places = (place for place, each in enumerate(rows) if each.row["bot_id"] == bot_id)
            # When it has gone the cursor stays where it was, on the bot that came in its place.
            self._cursor = next(places, self._cursor)
        self._cursor = max(0, min(self._cursor, len(rows) - 1))
        self.virtual_size = Size(0, len(rows) + 1)
        self._lay_out()
        self._follow_cursor()

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        self._cursor = max(0, min(self._cursor + lines, len(self._rows) - 1))
        self._follow_cursor()
        self.refresh()
        self.post_message(self.Moved())

    def action_page(self, pages: int) -> None:
        """Move the cursor by what the screen holds."""
        self.action_move(pages * max(1, self.size.height - 2))

    def action_open(self) -> None:
        """Tell more of the bot."""
        if (chosen := self.chosen) is not None:
            self.post_message(self.Opened(chosen.row["bot_id"]))

    def on_resize(self, _: events.Resize) -> None:
        """Lay the columns out anew: the terminal has another width, or the scrollbar came or went."""
        self._lay_out()
        self._follow_cursor()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the row that was clicked."""
        place = self.scroll_offset.y + event.y - 1
        if event.y > 0 and place < len(self._rows):
            self.action_move(place - self._cursor)

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen; the first one holds the titles, wherever it is scrolled to."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        place = self.scroll_offset.y + y - 1
        if y == 0:
            line = self._titles(base + self.get_component_rich_style("fleet-table--titles", partial=True))
        elif place < len(self._rows):
            name = "fleet-table--cursor" if self.has_focus else "fleet-table--away"
            here = place == self._cursor
            style = base + self.get_component_rich_style(name, partial=True) if here else base
            base = style  # the cursor reaches from side to side
            line = self._line(self._rows[place], style)
        elif place == 0:
            line = [Segment(printable(self._empty), base + Style(dim=True))]
        else:
            line = []
        return Strip(line).adjust_cell_length(width, base)

    def _titles(self, style: Style) -> list[Segment]:
        found = []
        for column, width in self._columns:
            text = column.title + (self._view.arrow if column.title == self._view.by else "")
            found.append(Segment(_fitted(text, width, right=column.right) + _GAP, style))
        return found

    def _line(self, sighting: Snapshot, style: Style) -> list[Segment]:
        if not sighting.fresh:
            style += Style(dim=True)
        found = []
        for column, width in self._columns:
            if column.title == "TREND":
                found += self._trend(sighting.row["bot_id"], style)
                continue
            text = cell(column, sighting)
            coloured = style + Style.parse(COLOURS.get(text, "")) if column.name == "status" else style
            found.append(Segment(_fitted(text, width, right=column.right), coloured))
            found.append(Segment(_GAP, style))
        return found

    def _trend(self, bot_id: str, style: Style) -> list[Segment]:
        bars = [bar(value) for value in self._lags(bot_id, TREND)]
        found = [Segment(" " * (TREND - len(bars)), style)]
        found += [Segment(each, style + Style(color=BAR_COLOURS.get(each))) for each in bars]
        return [*found, Segment(_GAP, style)]

    def _lay_out(self) -> None:
        self._columns = layout(self._rows, self.scrollable_content_region.width)
        self.refresh()

    def _follow_cursor(self) -> None:
        shown, first = self.size.height - 1, self.scroll_offset.y
        if self._cursor < first:
            self.scroll_to(y=self._cursor, animate=False)
        elif shown > 0 and self._cursor >= first + shown:
            self.scroll_to(y=self._cursor - shown + 1, animate=False)


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Return a text that takes so many columns of the terminal, where some signs take two."""
    spare = width - cell_len(text)
    if spare < 0:
        return set_cell_size(f"{set_cell_size(text, width - 1).rstrip()}…", width)
    return " " * spare + text if right else text + " " * spare
