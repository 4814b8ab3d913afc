"""The actor: what an author of one writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from .errors import MailboxFull
from .ref import Answer, Message, Ref
from .timers import Timers


class Context:
    """What one incarnation of an actor may use of its surroundings.

    Args:
        ref: the actor's own address.
        generation: 1 for the first incarnation, one more for each restart.
        timers: the supervisor's.
        post: puts a message into the actor's own mailbox, unless this incarnation has ended.

    Attributes:
        over: whether the incarnation has ended.
    """

    __slots__ = ("_post", "_timers", "generation", "over", "ref")

    def __init__(
        self, ref: Ref[Any, Any], generation: int, timers: Timers, post: Callable[[Any], None]
    ) -> None:
        self.ref: Ref[Any, Any] = ref
        self.generation: int = generation
        self.over: bool = False
        self._timers = timers
        self._post = post

    @property
    def name(self) -> str:
        """The actor's name, such as ``bot-1/heartbeat``."""
        return self.ref.name

    def tell_at(self, deadline: float, message: Any) -> None:
        """Send the actor itself a message at a time; no later incarnation gets it.

        Args:
            deadline: on the clock of `anyio.current_time`, in seconds.
            message: the message. When the mailbox is full it is tried again 100 ms later.
        """
        self._timers.expire_at(deadline, _Later(self, message))

    def tell_after(self, delay_s: float, message: Any) -> None:
        """Send the actor itself a message after a delay in seconds, as `tell_at` does."""
        self.tell_at(self._timers.now() + delay_s, message)

    def tell(self, message: Any) -> None:
        """Send the actor itself a message now, also while it starts; as `tell_at` does, it never raises."""
        try:
            self._post(message)
        except MailboxFull:
            self.tell_after(0.1, message)


class _Later:
    """A message that an incarnation sends itself later."""

    __slots__ = ("_ctx", "_message")

    def __init__(self, ctx: Context, message: Any) -> None:
        self._ctx = ctx
        self._message = message

    @property
    def ended(self) -> bool:
        return self._ctx.over

    def expire(self) -> None:
        self._ctx.tell(self._message)


class Actor:
    """One incarnation of an actor: a fresh instance for every start.

    Subclass it, and annotate `handle` with what it takes and answers: that is what a type checker then wants
    of who uses its `Ref`. What is to survive a restart belongs to whoever made the factory that makes the
    instances, and is handed to each of them.
    """

    async def start(self, ctx: Context) -> None:
        """Get ready. The actor counts as started when this returns.

        Args:
            ctx: the incarnation's surroundings; keep it if you need it.
        """

    async def handle(self, message: Any) -> Any:
        """Handle one message; the next is taken when this returns.

        Args:
            message: the message.

        Returns:
            The answer, if the message was an ask.

        Raises:
            Reject: answers the ask with a "no"; the actor lives on.
            Exception: anything else is a crash: the asker gets `ActorCrashed`, the actor is restarted.
        """
        raise TypeError(f"{type(self).__name__} cannot handle {type(message).__name__}")

    async def stop(self, reason: str) -> None:
        """Clean up after the last message. Not called after a crash.

        Args:
            reason: why it stops.
        """


class Handles(Protocol[Message, Answer]):
    """An actor as a type checker sees it: what its `handle` is annotated with is what its `Ref` takes."""

    async def start(self, ctx: Context) -> None:
        """See `Actor.start`."""
        ...

    async def handle(self, message: Message, /) -> Answer:
        """See `Actor.handle`."""
        ...

    async def stop(self, reason: str) -> None:
        """See `Actor.stop`."""
        ...


class BatchActor(Actor):
    """An actor that takes many of the messages that wait in its mailbox at once.

    Attributes:
        batch_limit: how many at most.
        batch_least: how many at least, if as many wait; of the rest it takes half, so that those who ask have
            the next batch ready when this one is done.
        in_flight: how many batches it handles at once, each in a task of its own. With more than one, a later
            batch may end before an earlier one.
    """

    batch_limit = 512
    batch_least = 512
    in_flight = 1

    async def handle_batch(self, messages: Sequence[Any]) -> list[Any]:
        """Handle a batch.

        Args:
            messages: at least one message, in the order they came.

        Returns:
            For each message its answer, or the exception that answers it.

        Raises:
            Reject: answers the whole batch with a "no"; the actor lives on.
            Exception: anything else is a crash, for each message of the batch.
        """
        raise NotImplementedError
