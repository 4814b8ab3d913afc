"""The bot, as the code of its author sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar

import anyio

from .errors import BotvisorError
from .identities import Identities
from .inbox import Inbox
from .participants import Participants
from .ref import Ref
from .vitals import Vitals

running_bot: ContextVar[Bot] = ContextVar("botvisor_bot")


class NoBot(BotvisorError):
    """There is no bot here."""

    def __str__(self) -> str:
        return "no bot runs here: call current_bot() inside main, or inside `async with open_bot(...)`"


def current_bot() -> Bot:
    """Return the bot in whose `main`, or in whose `open_bot` block, this is called.

    Raises:
        NoBot: when it is called elsewhere.
    """
    try:
        return running_bot.get()
    except LookupError:
        raise NoBot from None


class Bot:
    """What `main` is given.

    Args:
        vitals: what its heartbeats say.
        inbox: its admin messages: ``async for message in bot.inbox``.
        identities: what the processes of its room know of its participants.
        actors: the addresses of its actors and of the backend, by kind.
        request_stop: stops the bot, for a reason.
    """

    def __init__(
        self,
        vitals: Vitals,
        inbox: Inbox,
        identities: Identities,
        actors: Mapping[str, Ref],
        request_stop: Callable[[str], None],
    ) -> None:
        self.inbox = inbox
        self.identities = identities
        self.actors = actors
        self.stopping = anyio.Event()
        self._vitals = vitals
        self._request_stop = request_stop

    def __repr__(self) -> str:
        return f"<Bot {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The bot's id."""
        return self._vitals.owner.bot_id

    @property
    def room_url(self) -> str:
        """Its room, as it was given."""
        return self._vitals.room_url

    @property
    def participants(self) -> Participants:
        """Who is in the room: a set. The next heartbeat, sent at once, tells what you change in it."""
        return self._vitals.participants

    @property
    def status(self) -> str:
        """``starting``, ``healthy``, ``degraded``, ``draining`` or ``stopped``."""
        return self._vitals.status

    def stop(self, reason: str = "bot.stop() was called") -> None:
        """Stop the bot, as SIGTERM does: its inbox ends, and `main` has the grace to end.

        Args:
            reason: why, for the operators.
        """
        self._request_stop(reason)

    async def wait_stopping(self) -> None:
        """Wait until the bot is to stop."""
        await self.stopping.wait()
