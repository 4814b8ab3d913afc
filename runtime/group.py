"""A group: many asks that travel to an actor as one message, since each would cost as much as all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .envelope import Envelope
from .errors import ActorStopped, AskTimeout, MailboxFull
from .mailbox import Mailbox
from .ref import Ref
from .tasks import on_trio
from .timers import Timers

_LIMIT = 50


class Group:
    """The asks of one turn of the event loop: the message of an envelope, and its reply.

    Args:
        actor: who is asked, for the time-out's text.
        timeout_s: the limit of each ask, in seconds.

    Attributes:
        messages: what is asked.
        ended: nobody is to be answered any more.
    """

    __slots__ = ("_actor", "_answers", "_loop", "ended", "messages", "timeout_s")

    def __init__(self, actor: str, timeout_s: float) -> None:
        self._actor = actor
        self._loop = asyncio.get_running_loop()
        self.timeout_s = timeout_s
        self.messages: list[Any] = []
        self._answers: list[asyncio.Future[Any]] = []
        self.ended = False

    def __len__(self) -> int:
        return len(self.messages)

    def add(self, message: Any) -> asyncio.Future[Any]:
        """Take an ask in. Returns where its answer will be; an error is a value there."""
        answer = asyncio.Future[Any](loop=self._loop)
        self.messages.append(message)
        self._answers.append(answer)
        return answer

    def leave_out_the_gone(self) -> None:
        """Forget the asks whose askers have left."""
        if any(answer.done() for answer in self._answers):
            kept = [pair for pair in zip(self.messages, self._answers, strict=True) if not pair[1].done()]
            self.messages = [message for message, _ in kept]
            self._answers = [answer for _, answer in kept]

    def succeed(self, values: Sequence[Any]) -> bool:
        """Answer each with its value or its error. Returns whether anybody still waited."""
        if self.ended:
            return False
        self.ended = True
        for answer, value in zip(self._answers, values, strict=True):
            if not answer.done():
                answer.set_result(value)
        return True

    def fail(self, error: BaseException) -> bool:
        """Answer all with an error. Returns whether anybody still waited."""
        return self.succeed([error] * len(self._answers))

    def expire(self) -> bool:
        """Answer that the deadline has passed. Returns whether anybody still waited."""
        return not self.ended and self.fail(AskTimeout(self._actor, self.timeout_s))


class GroupRef(Ref):
    """The address of an actor that takes batches, and is asked much and by many.

    What is asked while it handles a batch goes with what others ask in the same turn of the event loop; at
    other times an ask goes to it at once, as by any other address. On trio nothing is gathered.

    Args:
        name: the actor's name.
        mailbox: its mailbox.
        timers: sweeps overdue asks.
    """

    __slots__ = ("_group",)

    def __init__(self, name: str, mailbox: Mailbox, timers: Timers) -> None:
        super().__init__(name, mailbox, timers)
        self._group: Group | None = None

    async def ask(self, message: Any, *, timeout: float) -> Any:
        """See `Ref.ask`."""
        if not self._mailbox.busy or on_trio():
            return await super().ask(message, timeout=timeout)
        group = self._group
        if group is None or group.timeout_s != timeout or len(group) >= _LIMIT:
            self._send()
            group = self._group = Group(self.name, timeout)
            asyncio.get_running_loop().call_soon(self._send)
        value = await group.add(message)
        if isinstance(value, BaseException):
            raise value
        return value

    def _send(self) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        now = self._timers.now()
        try:
            self._mailbox.put(Envelope(group, group, now))
        except (ActorStopped, MailboxFull) as error:
            group.fail(error)
        else:
            self._timers.expire_at(now + group.timeout_s, group)
