"""The fleet in `botvisor top`: a title, the table, a filter."""

from __future__ import annotations

import time
from typing import ClassVar

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Input, Static

from botvisor.fleet.watch import Watch
from botvisor.fleet.words import printable

from .top_footer import Footer
from .top_rows import View, about, count
from .top_table import FleetTable

_MORE = (
    ("↑ ↓ PgUp PgDn", "choose a bot"),
    ("s", "sort by another column"),
    ("r", "the other way round"),
    ("/", "filter; Esc ends it"),
    ("a", "also the dead, or not"),
)


class FleetScreen(Screen[None]):
    """Shows the fleet, live.

    Args:
        watch: knows it.
    """

    DEFAULT_CSS = """
    FleetScreen > Static { width: 100%; height: auto; }
    FleetScreen > #title { background: $panel; color: $text; height: 1; }
    FleetScreen > #chosen { color: $text-muted; height: 1; }
    FleetScreen > #trouble { background: $error; color: $text; display: none; }
    FleetScreen > Input { display: none; }
    FleetScreen > Input, FleetScreen > Input:focus { height: 1; border: none; padding: 0; }
    """
    BINDINGS: ClassVar = [
        Binding("s", "sort", show=False),
        Binding("r", "reverse", show=False),
        Binding("slash", "filter", show=False),
        Binding("a", "dead", show=False),
        Binding("escape", "unfilter", show=False),
    ]
    AUTO_FOCUS = "FleetTable"

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self._view = View()
        self._title = Static(id="title")
        self._trouble = Static(id="trouble")
        self._table = FleetTable(watch.lags)
        self._chosen = Static(id="chosen")
        self._filter = Input(placeholder="words to look for: Enter keeps them, Esc forgets them")

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield self._title
        yield self._trouble
        yield self._table
        yield self._chosen
        yield self._filter
        yield Footer((("Enter", "why"), *Footer.ACTIONS, ("?", "more"), ("q", "quit")), _MORE)

    def on_mount(self) -> None:
        """Show what is known already."""
        self.show()

    @property
    def bot_id(self) -> str | None:
        """The bot that the cursor is on."""
        chosen = self._table.chosen
        return None if chosen is None else str(chosen.row["bot_id"])

    def show(self) -> None:
        """Show the fleet as the watch knows it now."""
        view, bots = self._view, self._watch.board.bots.values()
        rows = view.of(bots)
        title = Text("botvisor top", style="bold").append(f"  by {view.by}{view.arrow}", style="not bold")
        if view.words.strip():
            title.append(f"  with {printable(view.words.strip())}", style="not bold")
        self._title.update(title.append(f"  {count(bots)}", style="not bold"))
        trouble = self._out_of_date()
        self._trouble.display = bool(trouble)
        self._trouble.update(Text(trouble))
        self._table.show(rows, view, self._nobody())
        self.on_fleet_table_moved()

    def on_fleet_table_moved(self) -> None:
        """Tell in a line what the columns may have no room for."""
        chosen = self._table.chosen
        self._chosen.update(Text("" if chosen is None else about(chosen)))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while somebody types."""
        self._see(words=event.value)

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self._leave_filter()

    def action_sort(self) -> None:
        """Sort by another column."""
        self._view = self._view.sorted_by_next()
        self.show()

    def action_reverse(self) -> None:
        """Sort the other way round."""
        self._see(reverse=not self._view.reverse)

    def action_dead(self) -> None:
        """Show those that ended, too, or no longer."""
        self._see(dead=not self._view.dead)

    def action_filter(self) -> None:
        """Ask for the words to filter by."""
        self._filter.display = True
        self._filter.focus()

    def action_unfilter(self) -> None:
        """Filter no longer."""
        self._filter.value = ""
        self._leave_filter()

    def _leave_filter(self) -> None:
        self._filter.display = False
        self._table.focus()

    def _see(self, **changes: object) -> None:
        self._view = msgspec.structs.replace(self._view, **changes)
        self.show()

    def _out_of_date(self) -> str:
        state = self._watch.board.state()
        away, problem, as_of = state["away"], state["problem"], state["as_of"]
        if away is None and problem is None:
            return ""
        why = f"Redis is away ({away})" if problem is None else problem
        if as_of is not None:
            return f"as of {time.strftime('%H:%M:%S', time.localtime(as_of))}: {why}"
        return f"{why}: " + (
            "nothing could be read yet" if problem else "this is what this host's files tell"
        )

    def _nobody(self) -> str:
        if not self._watch.looked:
            return "looking …"
        if self._view.words.strip():
            return "no such bots" if self._view.dead else "no such live bots (a shows those that ended)"
        return "no bots" if self._view.dead else "no live bots (a shows those that ended)"
