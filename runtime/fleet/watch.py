"""Looks at the fleet, for all browsers together, and for `botvisor top`."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import anyio

from botvisor import wire
from botvisor.client import Client
from botvisor.config import Settings
from botvisor.errors import StoreError
from botvisor.heartbeat import Heartbeat
from botvisor.store import Queue, QueuedMessage

from . import views
from .board import Board, Snapshot
from .history import History, limit_for
from .sent import Sent

EVERY_S = 2.0

_AT_HAND = 64  # bots whose messages are kept at hand
_FRESH_S = 1.0
_WAIT_S = 1.0  # for a bot's messages, before its page is shown without them


class Letters:
    """The messages of a bot, as they were last read."""

    def __init__(self) -> None:
        self.found: Sequence[tuple[Queue, QueuedMessage]] = ()
        self.problem: str | None = "they have not been read yet"
        self.read_at = float("-inf")
        self.lock = anyio.Lock()
        self.edition = 0

    def take(self, found: Sequence[tuple[Queue, QueuedMessage]], problem: str | None) -> None:
        """Take over what a look has found."""
        if (found, problem) != (self.found, self.problem):
            self.found, self.problem = found, problem
            self.edition += 1
        self.read_at = anyio.current_time()


class Watch:
    """Looks at the fleet every two seconds, and keeps what browsers are shown.

    Args:
        client: reads it.
        settings: the settings.
        every_s: seconds between two looks.
        sender: who sends, as bots are told.

    Attributes:
        board: the fleet.
        sent: what was sent from here.
        news: set, and replaced by a new one, when there is anything new to show.
        looked: whether it has looked at all yet.
        closed: it has ended: whoever waits for news is to leave.
    """

    def __init__(
        self, client: Client, settings: Settings, every_s: float = EVERY_S, *, sender: str = "botvisor web"
    ) -> None:
        self._client = client
        self._settings = settings
        self._every_s = every_s
        self._histories: dict[str, History] = {}
        self._watched: Counter[str] = Counter()
        self._letters: dict[str, Letters] = {}
        self.board = Board()
        self.sent = Sent(client, self._tell, sender=sender)
        self.news = anyio.Event()
        self.looked = False
        self.closed = False

    async def run(self) -> None:
        """Look, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.sent.run)
            group.start_soon(self._read_all_letters)
            while True:
                began = anyio.current_time()
                await self.look()
                await anyio.sleep(max(0.1, began + self._every_s - anyio.current_time()))

    async def look(self) -> None:
        """Look once."""
        away = self._client.away()
        try:
            heartbeats = await self._client.heartbeats()
        except StoreError as error:
            self.board.lose(views.clip(error))
        else:
            # Redis may have come back or gone meanwhile: then nobody knows which store it was that answered.
            away = away or self._client.away()
            self._take(heartbeats, None if away is None else views.clip(away))
        self.looked = True
        self._tell()

    def close(self) -> None:
        """Send all browsers away."""
        self.closed = True
        self._tell()

    @contextlib.contextmanager
    def watching(self, bot_id: str) -> Iterator[None]:
        """Look at a bot's messages, too, for as long as the block lasts."""
        self._watched[bot_id] += 1
        try:
            yield
        finally:
            self._watched[bot_id] -= 1
            if not self._watched[bot_id]:
                del self._watched[bot_id]

    def lags(self, bot_id: str, count: int) -> list[float | None]:
        """Return the last lags of a bot in ms, the newest last; None where one is not known."""
        history = self._histories.get(bot_id)
        return [] if history is None else history.tail("lag_ms", count)

    def edition(self, bot_id: str) -> tuple[object, ...]:
        """Return what differs when there is something new to show of a bot."""
        sighting, letters = self.board.bots.get(bot_id), self._letters.get(bot_id)
        return (
            sighting.version if sighting is not None else None,
            *self.board.state().values(),
            letters.edition if letters is not None else None,
            self.sent.edition(bot_id),
        )

    async def details(self, bot_id: str) -> dict[str, Any]:
        """Return everything about a bot; see `botvisor.web`.

        Args:
            bot_id: the bot.
        """
        sighting = self.board.bots.get(bot_id)
        if sighting is None and not wire.valid_bot_id(bot_id):
            return {**self.board.state(), "bot": None, "sent": []}
        letters = self._letters_of(bot_id)
        with anyio.move_on_after(_WAIT_S):
            await self._read(bot_id, letters)
        shown = letters.found[: views.MESSAGES]
        return {
            **self.board.state(),
            **self._about(sighting, [message for _, message in letters.found]),
            "messages": [views.letter_of(*pair) for pair in shown],
            "messages_more": len(letters.found) - len(shown),
            "messages_problem": letters.problem,
            "sent": self.sent.to(bot_id),
            "history": self._histories[bot_id].columns() if bot_id in self._histories else None,
        }

    def _about(self, sighting: Snapshot | None, messages: Sequence[QueuedMessage]) -> dict[str, Any]:
        if sighting is None:
            return {"bot": None}
        row = sighting.shown()
        return {"bot": row, **views.details_of(sighting.heartbeat, row["status"], messages, sighting.at)}

    def _take(self, heartbeats: Sequence[Heartbeat], away: str | None) -> None:
        now, stale_s = time.time(), self._settings.heartbeat_stale_s
        found = {beat.bot_id: (beat, views.row_of(beat, stale_s)) for beat in heartbeats}
        for bot_id in self.board.show(found, now, away):
            # A new one in place of the old: a larger fleet has less room for each.
            history = self._histories.get(bot_id) or History(limit_for(len(found)))
            history.add(now, views.figures_of(found[bot_id][0]))
            self._histories[bot_id] = history
        for bot_id in self._histories.keys() - self.board.bots.keys():
            del self._histories[bot_id]

    async def _read_all_letters(self) -> None:
        # Apart from the looks at the fleet, which are not to wait for slow queues.
        while True:
            await anyio.sleep(self._every_s)
            for bot_id in list(self._watched):
                letters = self._letters_of(bot_id)
                edition = letters.edition
                await self._read(bot_id, letters)
                if letters.edition != edition:
                    self._tell()

    def _letters_of(self, bot_id: str) -> Letters:
        letters = self._letters.pop(bot_id, None) or Letters()
        self._letters[bot_id] = letters  # the last one used is the last one to go
        while len(self._letters) > _AT_HAND:
            del self._letters[next(iter(self._letters))]
        return letters

    async def _read(self, bot_id: str, letters: Letters) -> None:
        """Read a bot's messages, unless that was done just now."""
        async with letters.lock:
            if anyio.current_time() - letters.read_at < _FRESH_S:
                return
            try:
                letters.take(await self._client.inbox(bot_id), None)
            except (StoreError, ValueError) as error:
                letters.take(letters.found, views.clip(error))

    def _tell(self) -> None:
        self.news, old = anyio.Event(), self.news
        old.set()
