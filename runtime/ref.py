"""The stable address of an actor: it stays the same across restarts."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Generic, TypeVar

from .envelope import Envelope, Reply
from .errors import ActorStopped, MailboxFull
from .mailbox import Mailbox
from .timers import Timers

Message = TypeVar("Message", contravariant=True)
Answer = TypeVar("Answer", covariant=True)


class Ref(Generic[Message, Answer]):
    """Sends messages to an actor. To be used on the supervisor's event loop.

    For a type checker it is a ``Ref[Message, Answer]``: of what the actor takes, and of what it answers.

    Args:
        name: the actor's name.
        mailbox: its mailbox.
        timers: sweeps overdue asks, whatever state the actor is in.
    """

    __slots__ = ("_mailbox", "_timers", "name")

    def __init__(self, name: str, mailbox: Mailbox, timers: Timers) -> None:
        self.name: str = name
        self._mailbox = mailbox
        self._timers = timers

    def __repr__(self) -> str:
        return f"<Ref {self.name}>"

    def tell(self, message: Message) -> None:
        """Send a message. Never blocks, and tells nothing about what became of it.

        Args:
            message: a frozen `msgspec.Struct`, by convention.

        Raises:
            ActorStopped: when the actor is stopped or parked.
            MailboxFull: when its mailbox is full.
        """
        self._mailbox.put(Envelope(message, None, self._timers.now()))

    async def ask(self, message: Message, *, timeout: float) -> Answer:
        """Send a message and wait for the answer.

        An ask that still waits in the mailbox when the actor restarts goes on waiting, to its own deadline.

        Args:
            message: a frozen `msgspec.Struct`, by convention.
            timeout: seconds until the ask is given up. It is mandatory: an ask without one can deadlock.

        Returns:
            What the actor's handler returned.

        Raises:
            Reject: the actor's typed "no".
            ActorCrashed: the actor failed on this very message.
            ActorStopped: the actor is stopped or parked.
            AskTimeout: the deadline has passed.
            MailboxFull: its mailbox is full.
        """
        answer: Answer = await self._post(message, timeout).wait()
        return answer

    def begin(self, message: Message, *, timeout: float) -> Awaitable[Answer | Exception]:
        """Send a message. Returns what to await for its answer, where an error is a value; see `ask`.

        Raises:
            ActorStopped, MailboxFull: when it cannot be sent.
        """
        return _answer(self._post(message, timeout))

    async def ask_all(self, messages: Sequence[Message], *, timeout: float) -> list[Answer | Exception]:
        """Send several messages at once and wait for all the answers.

        Args:
            messages: the messages; an actor that takes batches gets them as one.
            timeout: seconds, for all of them together.

        Returns:
            For each message its value, or the exception that `ask` would have raised.
        """
        replies: list[Reply | ActorStopped | MailboxFull] = []
        for message in messages:
            try:
                replies.append(self._post(message, timeout))
            except (ActorStopped, MailboxFull) as error:
                replies.append(error)
        try:
            return [await _answer(reply) for reply in replies]
        finally:
            for reply in replies:
                if isinstance(reply, Reply):
                    reply.abandon()

    def _post(self, message: Message, timeout: float) -> Reply:
        now = self._timers.now()
        reply = Reply(self.name, timeout)
        self._mailbox.put(Envelope(message, reply, now))
        self._timers.expire_at(now + timeout, reply)
        return reply


async def _answer(reply: Reply | ActorStopped | MailboxFull) -> Any:
    if not isinstance(reply, Reply):
        return reply
    try:
        return await reply.wait()
    except Exception as error:  # it is handed on as a value
        return error
