"""What was sent from the page or from `botvisor top`, and how far it has come."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import anyio
import msgspec

from botvisor.client import Client
from botvisor.errors import StoreError
from botvisor.message_forms import Mode
from botvisor.receipt import Receipt

from .views import clip

_KEPT = 200
_SHOWN = 20
_FOLLOWED_S = 3600.0  # as long as a message waits
_FIRST_S = 0.1
_LAST_S = 2.0
_ENDS = ("handled", "dead")


class Posted:
    """A message that was sent.

    Args:
        receipt: what is known of it.
        text: what it says.
        note: what else the sender should know, in words.
    """

    def __init__(self, receipt: Receipt, text: str, note: str) -> None:
        self.receipt = receipt
        self.at = time.time()
        self._text = clip(text)
        self._note = note
        self._began = time.monotonic() - receipt.stored_ms / 1000
        self._pause_s = _FIRST_S
        self.look_at = time.monotonic() + _FIRST_S

    @property
    def is_over(self) -> bool:
        """Whether nothing more will become of it, or nobody waits for that."""
        return self.receipt.state in _ENDS or time.monotonic() - self._began > _FOLLOWED_S

    async def look(self, client: Client) -> bool:
        """Look how far it has come; return whether that is news."""
        self._pause_s = min(_LAST_S, self._pause_s * 1.5)
        self.look_at = time.monotonic() + self._pause_s
        try:
            state = (await client.receipt(self.receipt)).state
        except StoreError:
            return False  # the message is stored: only the news of it fails to come
        old = self.receipt
        self.receipt = old.advanced(state, round((time.monotonic() - self._began) * 1000, 1))
        return self.receipt != old

    def shown(self) -> dict[str, Any]:
        """Return the receipt as the page shows it; see `botvisor.web`."""
        receipt = msgspec.structs.asdict(self.receipt)
        receipt["bot_id"] = receipt.pop("target")
        return {**receipt, "text": self._text, "sent_at": self.at, "note": self._note}


class Sent:
    """Sends, and follows what it has sent: the last two hundred messages.

    Args:
        client: sends them.
        on_news: called when there is news.
        sender: the sender's name, as bots are told.
    """

    def __init__(self, client: Client, on_news: Callable[[], None], *, sender: str) -> None:
        self._client = client
        self._on_news = on_news
        self._sender = sender
        self._posted: deque[Posted] = deque(maxlen=_KEPT)
        self._editions: Counter[str] = Counter()
        self._more = anyio.Event()

    async def send(self, bot_id: str, text: str, *, mode: Mode, durable: bool) -> dict[str, Any]:
        """Send a message to a bot; see `Client.send`.

        Returns:
            The receipt, as the page shows it.

        Raises:
            NotStored: no store took it.
            MalformedMessage: it is over 1 MiB.
        """
        receipt = await self._client.send(bot_id, text, mode=mode, durable=durable, sender_name=self._sender)
        posted = Posted(receipt, text, _note(receipt))
        self._posted.append(posted)
        self._more.set()
        self._tell(bot_id)
        return posted.shown()

    def to(self, bot_id: str) -> list[dict[str, Any]]:
        """Return the last receipts of what a bot was sent, the newest first."""
        found = [posted for posted in reversed(self._posted) if posted.receipt.target == bot_id]
        return [posted.shown() for posted in found[:_SHOWN]]

    def edition(self, bot_id: str) -> int:
        """Return a number that changes with what `to` returns."""
        return self._editions[bot_id]

    async def run(self) -> None:
        """Follow what was sent, until cancelled."""
        while True:
            self._more = anyio.Event()
            followed = [posted for posted in self._posted if not posted.is_over]
            for posted in followed:
                if posted.look_at <= time.monotonic() and await posted.look(self._client):
                    self._tell(posted.receipt.target)
            soonest = min((posted.look_at for posted in followed), default=float("inf"))
            with anyio.move_on_after(max(0.02, soonest - time.monotonic())):
                await self._more.wait()

    def _tell(self, bot_id: str) -> None:
        self._editions[bot_id] += 1
        self._on_news()


def _note(receipt: Receipt) -> str:
    """Return what else the sender should know."""
    if not receipt.fallback:
        return ""
    return f"only {receipt.where} has it, and passes it on later ({receipt.fallback})"
