"""A group: asks that wait for an actor together and reach it as one message, for one costs as much as all."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .envelope import Envelope, result_of
from .errors import ActorStopped, AskTimeout, MailboxFull
from .mailbox import Mailbox
from .ref import Ref
from .tasks import on_trio
from .timers import Timers

_ROOM = 50
_MANY = 16  # asks that are worth a batch beside the one that is being handled; fewer wait for it
_OPEN_S = 0.01  # the deadline is that of the last who may have come: nobody waits longer than this for it


class Group:
    """Some asks: the message of an envelope, and its reply.

    Args:
        actor: who is asked, for the time-out's text.
        timeout_s: the limit of each ask, in seconds.
        open_until: nobody joins it after that, on the clock of `Timers.now`.

    Attributes:
        messages: what is asked.
        answers: where the answer to each will be; an error is a value there.
        room: how many more may join.
        ended: nobody is to be answered any more.
    """

    __slots__ = ("_actor", "answers", "ended", "messages", "open_until", "room", "timeout_s")

    def __init__(self, actor: str, timeout_s: float, open_until: float) -> None:
        self._actor = actor
        self.timeout_s = timeout_s
        self.open_until = open_until
        self.messages: list[Any] = []
        self.answers: list[asyncio.Future[Any]] = []
        self.room = _ROOM
        self.ended = False

    def __len__(self) -> int:
        return len(self.messages)

    def close(self) -> None:
        """Let nobody join any more, and forget the asks whose askers have left."""
        self.room = 0
        if True in map(asyncio.Future.done, self.answers):
            kept = [pair for pair in zip(self.messages, self.answers, strict=True) if not pair[1].done()]
            self.messages = [message for message, _ in kept]
            self.answers = [answer for _, answer in kept]

    def succeed(self, values: Sequence[Any]) -> bool:
        """Answer each with its value or its error. Returns whether anybody still waited."""
        if self.ended:
            return False
        answers, self.answers = self.answers, []  # the timer holds this object for long
        self.ended, self.room = True, 0
        for answer, value in zip(answers, values, strict=True):
            if not answer.done():
                answer.set_result(value)
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer all with an error, each with its own. Returns whether anybody still waited."""
        return self.succeed([_twin_of(error) for _ in self.answers])

    def expire(self) -> bool:
        """Answer that the deadline has passed. Returns whether anybody still waited."""
        return not self.ended and self.fail(AskTimeout(self._actor, self.timeout_s))


def _twin_of(error: BaseException) -> BaseException:
    """Return an error like another: the traceback of one that many raise would grow with each of them."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    twin.__cause__, twin.__suppress_context__ = error.__cause__, error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


class GroupRef(Ref[Any, Any]):
    """The address of an actor that takes batches, and is asked much and by many.

    An ask joins the one that was sent just before and still waits in the mailbox, and goes by itself if there
    is none. While a batch is handled another is begun beside it for many, and few wait. On trio nothing is
    gathered.

    Args:
        name: the actor's name.
        mailbox: its mailbox.
        timers: sweeps overdue asks.
    """

    __slots__ = ("_group", "_new_answer")

    def __init__(self, name: str, mailbox: Mailbox, timers: Timers) -> None:
        super().__init__(name, mailbox, timers)
        self._group: Group | None = None
        self._new_answer: Callable[[], asyncio.Future[Any]] | None = None

    def tell(self, message: Any) -> None:
        """See `Ref.tell`."""
        self._group = None  # what is asked later is not to overtake it
        super().tell(message)

    async def ask(self, message: Any, *, timeout: float) -> Any:
        """See `Ref.ask`."""
        return result_of(await self.begin(message, timeout=timeout))

    def begin(self, message: Any, *, timeout: float) -> Awaitable[Any]:
        """See `Ref.begin`."""
        if self._new_answer is None:
            if on_trio():
                return super().begin(message, timeout=timeout)
            self._new_answer = functools.partial(asyncio.Future, loop=asyncio.get_running_loop())
        group, now = self._group, self._timers.now()
        if (
            group is None
            or not group.room
            or group.timeout_s != timeout
            or now > group.open_until
            or self._mailbox.closed
        ):
            group = Group(self.name, timeout, now + _OPEN_S)
            self._mailbox.put(Envelope(group, group, now), patient=True)
            self._timers.expire_at(group.open_until + timeout, group)
            self._group = group
        group.room -= 1
        group.messages.append(message)
        answer = self._new_answer()
        group.answers.append(answer)
        if group.room == _ROOM - _MANY:
            self._mailbox.wake()
        return answer

    async def ask_all(self, messages: Sequence[Any], *, timeout: float) -> list[Any]:
        """See `Ref.ask_all`. They join a group as single ones do: many bots of a process may ask at once."""
        if on_trio():
            self._group = None
            return await super().ask_all(messages, timeout=timeout)
        answers: list[Any] = []
        try:
            for message in messages:
                try:
                    answers.append(self.begin(message, timeout=timeout))
                except (ActorStopped, MailboxFull) as error:
                    answers.append(error)
            self._mailbox.wake()
            return [await each if isinstance(each, asyncio.Future) else each for each in answers]
        finally:
            for each in answers:
                if isinstance(each, asyncio.Future):
                    each.cancel()  # nobody waits any more
