"""A message on its way, and the one answer that an `ask` waits for."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Generator
from typing import Any, Protocol

import anyio

from .errors import AskTimeout
from .tasks import on_trio


class Fate(enum.StrEnum):
    """How a message ended. Every message that a mailbox took has exactly one fate."""

    HANDLED = "handled"
    REJECTED = "rejected"
    CRASHED = "crashed"
    REDELIVERED = "redelivered"
    """Handled, but only by a later incarnation: the first one was cancelled under it."""
    DEAD_LETTERED = "dead-lettered"

    __hash__ = str.__hash__  # that of an enum is written in Python, and fates are counted per message


class _TrioFuture:
    """What is needed here of asyncio's futures, on trio."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __await__(self) -> Generator[Any, None, None]:
        return self._event.wait().__await__()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, _: None) -> None:
        self._event.set()


Arrival = asyncio.Future[None] | _TrioFuture


def new_arrival() -> Arrival:
    """Return what one task awaits until another sets its result: half as dear as an anyio.Event."""
    return _TrioFuture() if on_trio() else asyncio.get_running_loop().create_future()


class Reply:
    """The answer to one ask: it ends exactly once, whoever comes first.

    Args:
        actor: who was asked, for the time-out's text.
        timeout_s: the ask's limit, for the same.
    """

    __slots__ = ("_actor", "_arrived", "_error", "_timeout_s", "_value", "ended")

    def __init__(self, actor: str, timeout_s: float) -> None:
        self._actor = actor
        self._timeout_s = timeout_s
        self._arrived: Arrival | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self.ended = False

    def succeed(self, value: Any) -> bool:
        """Answer with a value. Returns whether anybody still waited for it."""
        return self._end(value, None)

    def fail(self, error: BaseException) -> bool:
        """Answer with an error. Returns whether anybody still waited for it."""
        return self._end(None, error)

    def expire(self) -> bool:
        """Answer that the deadline has passed. Returns whether anybody still waited."""
        return not self.ended and self._end(None, AskTimeout(self._actor, self._timeout_s))

    async def wait(self) -> Any:
        """Wait for the answer.

        Returns:
            The value.

        Raises:
            BaseException: the error it ended with. A waiter that is cancelled ends the ask.
        """
        if not self.ended:
            self._arrived = new_arrival()
            try:
                await self._arrived
            finally:
                self.ended = True
        error, value = self._error, self._value
        self.abandon()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback leads to this frame: a cycle
        return value

    def abandon(self) -> None:
        """Nobody waits any more. The timer may hold this object for long: it need not hold the answer too."""
        self.ended = True
        self._error = self._value = None

    def _end(self, value: Any, error: BaseException | None) -> bool:
        if self.ended:
            return False
        self.ended = True
        self._value = value
        self._error = error
        if self._arrived is not None and not self._arrived.done():  # a waiter that was cancelled just now
            self._arrived.set_result(None)
        return True


def result_of(answer: Any) -> Any:
    """Return an answer that is a value.

    Raises:
        BaseException: the answer itself, if it is an error.
    """
    if isinstance(answer, BaseException):
        try:
            raise answer
        finally:
            del answer  # its traceback leads to this frame: a cycle
    return answer


class Answer(Protocol):
    """Where the answer to an envelope goes, be it one ask's or a group's."""

    ended: bool

    def succeed(self, value: Any) -> bool:
        """Answer with a value. Returns whether anybody still waited for it."""
        ...

    def fail(self, error: BaseException) -> bool:
        """Answer with an error. Returns whether anybody still waited for it."""
        ...


class Envelope:
    """A message on its way: how often it was taken out, and what became of it.

    Args:
        message: the message.
        reply: the answer's place, if somebody asked.
        sent_at: on the clock of `anyio.current_time`, in seconds.
        generation: the one incarnation that may handle it; 0 lets any.
    """

    __slots__ = ("deliveries", "fate", "generation", "message", "number", "reply", "sent_at")

    def __init__(self, message: Any, reply: Answer | None, sent_at: float, generation: int = 0) -> None:
        self.message = message
        self.reply = reply
        self.sent_at = sent_at
        self.generation = generation
        self.number = 0  # in the order the mailbox took them in
        self.deliveries = 0
        self.fate: Fate | None = None
