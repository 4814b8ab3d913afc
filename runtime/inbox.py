"""The inbox as `main` reads it, and what is known of each of its queues.

It outlives the inbox actor's incarnations: nothing that was claimed, shown or handled is forgotten when that
actor restarts.
"""

from __future__ import annotations

import enum
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from . import tasks
from .errors import BotvisorError
from .messages import AdminMessage
from .store import Claim, Done, Queue

_REMEMBERED = 10_000  # ids; the store remembers the rest


class ConcurrentReader(BotvisorError):
    """Two tasks read one inbox at once."""

    def __str__(self) -> str:
        return "another task reads this inbox already: let one task read, and hand the messages on"


class Phase(enum.Enum):
    """Where the message in flight of a queue stands."""

    EMPTY = "nothing is in flight"
    READY = "claimed, and nobody was shown it"
    HELD = "a reader has it"
    DONE = "handled, and the store is to be told"
    LOST = "its reader died: to be claimed again"
    MALFORMED = "claimed, and cannot be understood: to be put into quarantine"


class Lane:
    """One queue of the inbox, with at most one message in flight.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.phase = Phase.EMPTY
        self.rung = True
        self.leased_until = 0.0
        self.standing_by = False
        self.attempt = 0
        self.claim: Claim | None = None
        self.message: AdminMessage | None = None
        self.problem = ""

    @property
    def leased(self) -> bool:
        """Whether the lease is ours for sure: past its time somebody else may have it."""
        return self.leased_until > anyio.current_time()

    def put(self, claim: Claim, message: AdminMessage) -> None:
        """Take a claimed message in, for a reader."""
        self.claim = claim
        self.message = message
        self.phase = Phase.READY

    def refuse(self, claim: Claim, problem: str) -> None:
        """Take a claimed message in that nobody can be shown."""
        self.claim = claim
        self.message = None
        self.problem = problem
        self.phase = Phase.MALFORMED

    def finish(self, *, handled: bool) -> None:
        """End a message's time with its reader."""
        self.phase = Phase.DONE if handled else Phase.LOST
        self.attempt += not handled

    def done(self) -> Done | None:
        """Return what the store is to acknowledge, if there is something."""
        if self.phase is not Phase.DONE or self.claim is None or self.message is None:
            return None
        return Done(self.claim.token, self.message.id)

    def clear(self) -> None:
        """Nothing is in flight."""
        self.phase = Phase.EMPTY
        self.claim = self.message = None

    def forget(self) -> None:
        """What is in flight is not known any more: the store is to be asked."""
        self.clear()
        self.rung = True


class Inbox:
    """The admin messages of one bot: iterate over it.

    A message is done when the task that took it asks for the next one, or ends normally. If that task dies
    or is cancelled first, the message is delivered again, marked `redelivered`; after three tries it becomes
    a dead letter. What a task only fetches for others, as `asyncio.create_task(anext(inbox))` does, is done
    when the next one is asked for, or the bot's own code ends.
    """

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.ended = False
        self.left = False  # the store was told all, and the leases were given up
        self.handled = 0
        self.on_change: Callable[[], None] = lambda: None
        self.subscriptions: list[Callable[[], None]] = []
        self._held: Lane | None = None
        self._holder: Any = None  # the task that has it; None when that cannot be told
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()
        self._arrival: anyio.Event | None = None
        self._handled_ids: OrderedDict[str, None] = OrderedDict()
        self._shown_ids: OrderedDict[str, None] = OrderedDict()

    def __aiter__(self) -> Inbox:
        return self

    async def __anext__(self) -> AdminMessage:
        """Return the next message; the one before counts as handled from now on.

        Raises:
            StopAsyncIteration: when the bot is stopping.
            ConcurrentReader: when another task reads, or still holds a message.
        """
        reader = tasks.current()
        self._settle_before(reader)
        while not self.ended:
            lane = self._next_ready()
            if lane is not None and lane.message is not None:
                return self._hand_out(lane, lane.message, reader)
            self._arrival = anyio.Event()
            try:
                await self._arrival.wait()
            finally:
                self._arrival = None
        # Who reads on and on must not keep the event loop from its other tasks.
        await anyio.lowlevel.checkpoint()
        raise StopAsyncIteration

    def arrived(self) -> None:
        """Wake the reader: something is ready, or the end has come."""
        if self._arrival is not None:
            self._arrival.set()

    def end(self) -> None:
        """Hand out nothing more: readers see the end of the iteration."""
        self.ended = True
        self.arrived()

    def reader_ended(self, *, handled: bool) -> None:
        """Settle the message that is held, because the code that reads this inbox has ended.

        Args:
            handled: whether it ended normally.
        """
        if self._held is None:
            return
        if self._holder is None or self._holder is tasks.current():
            self._settle(handled=handled)
            return
        match tasks.outcome(self._holder):
            case "running":
                return  # a task that outlived its parent still has it
            case "unknown":
                self._settle(handled=handled)
            case ended:
                self._settle(handled=ended == "returned")

    def unsubscribe(self) -> None:
        """End what an inbox actor has subscribed to, be it this one or an earlier incarnation."""
        while self.subscriptions:
            self.subscriptions.pop()()

    def was_handled(self, message_id: str) -> bool:
        """Return whether this bot has handled a message of that id, as far as it remembers."""
        return message_id in self._handled_ids

    def _settle_before(self, reader: Any) -> None:
        if self._arrival is not None:
            raise ConcurrentReader
        if self._held is None:
            return
        state = "returned" if self._holder in (None, reader) else tasks.outcome(self._holder)
        if state == "running" and not _only_fetches(reader):
            raise ConcurrentReader
        self._settle(handled=state in ("returned", "running"))

    def _next_ready(self) -> Lane | None:
        for lane in sorted(self.lanes, key=_stored_at):
            if lane.phase is not Phase.READY or lane.message is None:
                continue
            if self.was_handled(lane.message.id):
                lane.finish(handled=True)  # its twin from another queue was handled meanwhile
                self.on_change()
            elif lane.leased:
                return lane
        return None

    def _hand_out(self, lane: Lane, message: AdminMessage, reader: Any) -> AdminMessage:
        lane.phase = Phase.HELD
        self._held = lane
        self._holder = None if _only_fetches(reader) else reader
        if self._holder is not None and reader not in self._watched:
            self._watched.add(reader)
            tasks.on_end(reader, lambda: self._holder_ended(reader))
        if not message.redelivered and self._may_have_been_shown(message.id):
            message = lane.message = msgspec.structs.replace(message, redelivered=True)
        _remember(self._shown_ids, message.id)
        return message

    def _may_have_been_shown(self, message_id: str) -> bool:
        twins = [lane.message for lane in self.lanes if lane.message and lane.message.id == message_id]
        return message_id in self._shown_ids or any(twin.redelivered for twin in twins)

    def _holder_ended(self, reader: Any) -> None:
        if self._held is not None and self._holder is reader:
            self._settle(handled=tasks.outcome(reader) == "returned")

    def _settle(self, *, handled: bool) -> None:
        lane, self._held, self._holder = self._held, None, None
        if lane is None or lane.phase is not Phase.HELD:
            return
        lane.finish(handled=handled)
        if handled and lane.message is not None:
            self.handled += 1
            _remember(self._handled_ids, lane.message.id)
        self.on_change()


def _only_fetches(reader: Any) -> bool:
    # `create_task(anext(inbox))`, and `asyncio.wait_for` before Python 3.12, make a task of this very call.
    # It ends with the message in its result: whoever awaits it has the message then.
    get_coro = getattr(reader, "get_coro", None)
    return get_coro is not None and getattr(get_coro(), "cr_code", None) is Inbox.__anext__.__code__


def _stored_at(lane: Lane) -> float:
    return lane.claim.stored_at if lane.claim is not None else 0.0


def _remember(ids: OrderedDict[str, None], message_id: str) -> None:
    ids[message_id] = None
    ids.move_to_end(message_id)
    if len(ids) > _REMEMBERED:
        ids.popitem(last=False)
