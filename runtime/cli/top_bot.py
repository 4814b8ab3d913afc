"""One bot in `botvisor top`: what `why` tells, its figures, its stacks, what it was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import anyio
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Static

from botvisor.fleet.watch import Watch
from botvisor.fleet.words import lag, printable

from .table import COLOURS
from .top_footer import Footer
from .top_rows import BAR_COLOURS, bar

_TREND = 50  # heartbeats
_TOLD_WITHIN_S = 10.0  # a bot that has not told its stacks by then will not
_STEPS = ("stored", "delivered", "handled")


class BotScreen(Screen[None]):
    """Shows a bot, live.

    Args:
        watch: knows it.
        bot_id: the bot.
    """

    DEFAULT_CSS = """
    BotScreen > VerticalScroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    BotScreen > VerticalScroll > Static { width: 100%; height: auto; }
    """
    BINDINGS: ClassVar = [Binding("escape,enter,backspace", "leave", show=False)]

    def __init__(self, watch: Watch, bot_id: str) -> None:
        super().__init__()
        self.bot_id = bot_id
        self._watch = watch
        self._asked_at: float | None = None
        self._about = Static()
        self._details: dict[str, Any] = {}

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with VerticalScroll():
            yield self._about
        yield Footer((("Esc", "back"), *Footer.ACTIONS))

    def on_mount(self) -> None:
        """Begin to follow the bot."""
        self.query_one(VerticalScroll).focus()
        self.run_worker(self._follow(), exit_on_error=True)

    def ask_for_stacks(self) -> None:
        """Tell that the bot was asked where its tasks stand."""
        self._asked_at = time.monotonic()
        self._show()

    def action_leave(self) -> None:
        """Go back to the fleet."""
        self.dismiss()

    async def _follow(self) -> None:
        with self._watch.watching(self.bot_id):
            while True:
                news, edition = self._watch.news, self._watch.edition(self.bot_id)
                self._details = await self._watch.details(self.bot_id)
                self._show()
                while edition == self._watch.edition(self.bot_id):
                    with anyio.move_on_after(1.0):  # that a bot does not tell its stacks is no news
                        await news.wait()
                    news = self._watch.news
                    self._show()

    def _show(self) -> None:
        if self._details:
            lags = self._watch.lags(self.bot_id, _TREND)
            told = about(self.bot_id, self._details, lags, self._waiting())
            self._about.update(told)

    def _waiting(self) -> str:
        if self._asked_at is None or self._details["stacks"]:
            return ""
        if time.monotonic() - self._asked_at > _TOLD_WITHIN_S:
            return f"It did not tell within {_TOLD_WITHIN_S:g} s where its tasks stand."
        return "It was asked where its tasks stand …"


def about(bot_id: str, details: Mapping[str, Any], lags: Sequence[float | None], waiting: str) -> Text:
    """Return everything about a bot, for a terminal.

    Args:
        bot_id: the bot.
        details: what `Watch.details` returned.
        lags: its last lags in ms.
        waiting: a sentence about what it was asked; empty if nothing is to be said.
    """
    row = details["bot"]
    text = Text(printable(bot_id), style="bold")
    if row is None:
        return text.append("\n\nNobody knows it any more.", style="not bold")
    status = row["status"]
    text.append("  ").append(status, style=COLOURS.get(status, ""))
    text.append(f"\n\n{details['summary']}\n", style="not bold")
    known = [value for value in lags if value is not None]
    if known:
        text.append("\n")
        for each in map(bar, lags):
            text.append(each, style=BAR_COLOURS.get(each, ""))
        text.append(f"  lag {lag(known[-1])}, at most {lag(max(known))}\n", style="not bold")
    for title, lines in _blocks(details, waiting):
        text.append(f"\n{title}\n", style="bold")
        text.append("".join(f"  {line}\n" for line in lines), style="not bold")
    return text


def receipt(sent: Mapping[str, Any]) -> str:
    """Return how far a message has come, step by step.

    Args:
        sent: it, as `Sent` shows it.
    """
    steps = [f"{step} after {sent[f'{step}_ms']:.0f} ms" for step in _STEPS if sent[f"{step}_ms"] is not None]
    if sent["state"] == "dead":
        steps.append("given up")
    return f"{' → '.join(steps)} ({printable(sent['where'])})"


def _blocks(details: Mapping[str, Any], waiting: str) -> Iterator[tuple[str, Sequence[str]]]:
    if details["blocked"] is not None:
        yield "the stack that blocks it", details["blocked"]["stack"]
    if waiting:
        yield waiting, ()
    stacks = details["stacks"] or {}
    for name, lines in sorted(stacks.items(), key=lambda pair: not pair[0].endswith("/main")):
        yield f"where {name} stands", lines
    if details["sent"]:
        yield "sent from here", [f"{each['text']}: {receipt(each)}" for each in details["sent"]]
    if details["messages"]:
        yield "its messages", [_letter(each) for each in details["messages"]]
    if details["messages_problem"]:
        yield f"its messages cannot be read: {details['messages_problem']}", ()
    if details["ledger"]:
        yield "its ledger", [_entry(entry) for entry in details["ledger"]]
    yield "figures", [f"{name}: {value}" for name, value in details["facts"]]


def _letter(letter: Mapping[str, Any]) -> str:
    sender = f" of {letter['sender']}" if letter["sender"] else ""
    reason = f" ({letter['reason']})" if letter["reason"] else ""
    return f"{letter['state']}{reason}{sender}: {letter['text']}"


def _entry(entry: Mapping[str, Any]) -> str:
    handling = f" on {entry['message']}" if entry["message"] else ""
    then = f", again after {entry['backoff_s']:.1f} s" if entry["backoff_s"] is not None else ""
    return f"{entry['at']}  {entry['actor']}{handling}: {entry['error']}{then}"
