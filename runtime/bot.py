"""The bot, as the code of its author sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio

from .actor import Actor, Handles
from .bot_actors import BotActors
from .errors import BotvisorError
from .identities import Identities
from .inbox import Inbox
from .participants import Participants
from .ref import Ref
from .restart import Policy
from .vitals import Vitals

Message = TypeVar("Message")
Answer = TypeVar("Answer")

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
        actors: its actors.
        request_stop: stops the bot, for a reason.
    """

    def __init__(
        self,
        vitals: Vitals,
        inbox: Inbox,
        identities: Identities,
        actors: BotActors,
        request_stop: Callable[[str], None],
    ) -> None:
        self.inbox: Inbox = inbox
        """Its admin messages: ``async for message in bot.inbox``. The loop ends when the bot is to stop."""
        self.identities: Identities = identities
        """What the processes of its room know of its participants."""
        self._actors = actors
        self.stopping: anyio.Event = anyio.Event()
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
    def actors(self) -> Mapping[str, Ref[Any, Any]]:
        """The addresses of its actors, and of the backend, by name."""
        return self._actors.refs

    @property
    def participants(self) -> Participants:
        """Who is in the room: a set. The next heartbeat, sent at once, tells what you change in it."""
        return self._vitals.participants

    @property
    def status(self) -> str:
        """``starting``, ``healthy``, ``degraded``, ``draining`` or ``stopped``."""
        return self._vitals.status

    async def start_actor(
        self,
        name: str,
        factory: Callable[[], Handles[Message, Answer]],
        *,
        policy: Policy | None = None,
        capacity: int = 1024,
    ) -> Ref[Message, Answer]:
        """Start an actor of your own, supervised as the bot's own ones are, and wait until it has started.

        It is restarted when it fails, shown with its failures where theirs are, and stopped after `main` has
        ended and before the bot's own actors; of several, the last started first. Inside of it `current_bot`
        returns this bot.

        Args:
            name: what operators call it, once in each bot: 1 to 64 of ``A-Z a-z 0-9 _ . -``.
            factory: the `Actor`'s class, or what else makes a fresh one for every start.
            policy: how it is restarted; None is as the bot's own actors are.
            capacity: how many messages may wait for it.

        Returns:
            Its address, which outlives its restarts.

        Raises:
            StartFailed: when its first start failed or took too long.
            ActorNameTaken: when the bot has an actor of that name.
            BotStopping: when the bot is to stop.
            ValueError: when the name cannot be one, or the capacity is less than 1.
            TypeError: when the factory is none.
        """
        if not callable(factory):
            raise TypeError(
                f"start_actor takes an actor's class, or a function that makes one, not {factory!r}: "
                "one that failed is replaced by a fresh one"
            )
        if capacity < 1:
            raise ValueError(f"capacity is at least 1 message, not {capacity}")

        def fresh() -> Actor:
            running_bot.set(self)  # in the incarnation's own task
            made = factory()
            if not isinstance(made, Actor):
                raise TypeError(f"{name} is to be an Actor, but its factory made {made!r}")
            return made

        return await self._actors.start(name, fresh, policy, capacity)

    async def stop_actor(self, name: str, reason: str = "bot.stop_actor() was called") -> None:
        """Stop an actor that `start_actor` started: it handles what waits, within its `stop_timeout`.

        Args:
            name: its name. One that has ended already is fine.
            reason: why, for its `stop` and for the operators.

        Raises:
            ValueError: when it is one that every bot needs.
        """
        await self._actors.stop_custom(name, reason)

    def stop(self, reason: str = "bot.stop() was called") -> None:
        """Stop the bot, as SIGTERM does: its inbox ends, and `main` has the grace to end.

        Args:
            reason: why, for the operators.
        """
        self._request_stop(reason)

    async def wait_stopping(self) -> None:
        """Wait until the bot is to stop."""
        await self.stopping.wait()
