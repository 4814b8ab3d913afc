"""The program of `botvisor top`: what its keys do."""

from __future__ import annotations

from typing import ClassVar

import anyio
from textual.app import App
from textual.binding import Binding

from botvisor import liveness, wire
from botvisor.client import Client
from botvisor.control import Command
from botvisor.errors import BotvisorError
from botvisor.fleet.watch import Watch

from .top_bot import BotScreen, receipt
from .top_dialogs import Compose, Confirm, Draft
from .top_fleet import FleetScreen
from .top_footer import Footer
from .top_table import FleetTable

_PAUSE_S = 0.1  # a burst of news is drawn at most so often
_QUESTIONS: dict[Command, tuple[str, str]] = {
    "drain": ("Drain {}?", "It takes no more messages, and ends when its main does."),
    "stop": ("Stop {}?", "It is stopped as by SIGTERM: its inbox ends, and its main has its grace."),
}


class TopApp(App[None]):
    """Shows the fleet, and does to the chosen bot what a key says.

    Args:
        client: commands bots.
        watch: looks at them, and sends; somebody else runs it.
    """

    TITLE = "botvisor top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [
        Binding("m", "message", show=False),
        Binding("d", "control('drain')", show=False),
        Binding("x", "control('stop')", show=False),
        Binding("t", "stack", show=False),
        Binding("question_mark", "help", show=False),
        Binding("q", "quit", show=False),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
    ]

    def __init__(self, client: Client, watch: Watch) -> None:
        super().__init__()
        self._client = client
        self._watch = watch
        self._news = ""
        self._followed: tuple[str, str] | None = None

    async def on_mount(self) -> None:
        """Show the fleet."""
        await self.push_screen(FleetScreen(self._watch))
        self.run_worker(self._follow())

    def on_fleet_table_opened(self, event: FleetTable.Opened) -> None:
        """Tell more of a bot."""
        self.push_screen(BotScreen(self._watch, event.bot_id))

    def action_message(self) -> None:
        """Ask for a message, and send it."""
        if (bot_id := self._chosen()) is None:
            return

        def send(draft: Draft | None) -> None:
            if draft is not None:
                self.run_worker(self._send(bot_id, draft))

        self.push_screen(Compose(bot_id), send)

    def action_control(self, command: Command) -> None:
        """Ask whether to command the bot, and do so."""
        if (bot_id := self._chosen(live=True)) is None:
            return

        def tell(sure: bool | None) -> None:
            if sure:
                self.run_worker(self._tell_bot(bot_id, command))

        question, then = _QUESTIONS[command]
        self.push_screen(Confirm(question.format(bot_id), then), tell)

    def action_stack(self) -> None:
        """Ask the bot where its tasks stand, and show its answer; a blocked one has told already."""
        if (bot_id := self._chosen(live=True)) is None:
            return
        screen = self.screen if isinstance(self.screen, BotScreen) else BotScreen(self._watch, bot_id)
        if screen is not self.screen:
            self.push_screen(screen)
        if self._watch.board.bots[bot_id].row["status"] != "blocked":
            screen.ask_for_stacks()
            self.run_worker(self._tell_bot(bot_id, "stack"))

    def action_help(self) -> None:
        """Show all keys, or some of them."""
        self.screen.query_one(Footer).toggle()

    def tell(self, news: str) -> None:
        """Tell what happened, in the last line but one."""
        self._news, self._followed = news, None
        self._show()

    async def _send(self, bot_id: str, draft: Draft) -> None:
        try:
            sent = await self._watch.sent.send(bot_id, draft.text, mode=draft.mode, durable=False)
        except BotvisorError as error:
            self.tell(str(error))
        else:
            self._followed = (bot_id, sent["id"])
            self._show()

    async def _tell_bot(self, bot_id: str, command: Command) -> None:
        try:
            await self._client.control(bot_id, command)
        except BotvisorError as error:
            self.tell(str(error))
        else:
            self.tell("" if command == "stack" else f"told {bot_id} to {command}")

    async def _follow(self) -> None:
        while True:
            news = self._watch.news
            self._show()
            await news.wait()
            await anyio.sleep(_PAUSE_S)

    def _show(self) -> None:
        for screen in self.screen_stack:
            for footer in screen.query(Footer):
                footer.tell(self._told())
        screen = self.screen
        if isinstance(screen, FleetScreen):
            screen.show()

    def _told(self) -> str:
        if self._followed is None:
            return self._news
        bot_id, message_id = self._followed
        for sent in self._watch.sent.to(bot_id):
            if sent["id"] == message_id:
                note = f"; {sent['note']}" if sent["note"] else ""
                return f"{bot_id}: {receipt(sent)}{note}"
        return self._news

    def _chosen(self, *, live: bool = False) -> str | None:
        """Return the bot that is to be done something to; None, and the reason told, if there is none."""
        screen = self.screen
        bot_id = screen.bot_id if isinstance(screen, (FleetScreen, BotScreen)) else None
        seen = self._watch.board.bots.get(bot_id) if bot_id is not None else None
        if bot_id is None or seen is None:
            self.tell("no bot is chosen")
        elif not wire.valid_bot_id(bot_id):
            self.tell("that is no id of a bot that can be reached")
        elif live and seen.row["status"] in liveness.ENDED:
            self.tell(f"{bot_id} has ended")
        else:
            return bot_id
        return None
