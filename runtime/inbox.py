"""The inbox as `main` reads it.

It outlives the inbox actor's incarnations: nothing that was claimed, shown or handled is forgotten when that
actor restarts.
"""

from __future__ import annotations

import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from . import tasks
from .errors import BotvisorError
from .lane import NO_QUEUE, Lane, Phase
from .messages import AdminMessage
from .store import Past, Queue
from .wire import id_digest

_ANNOUNCED = 100
_REMEMBERED = 10_000  # ids; the store remembers the rest


class ConcurrentReader(BotvisorError):
    """Two tasks read one inbox at once."""

    def __str__(self) -> str:
        return "another task reads this inbox already: let one task read, and hand the messages on"


class Inbox:
    """The admin messages of one bot: iterate over it.

    A message is done when the task that took it asks for the next one, or ends normally. If that task dies
    or is cancelled first, the message is delivered again, marked `redelivered`; after three tries it becomes
    a dead letter. What a task only fetches for others, as `asyncio.create_task(anext(inbox))` does, is done
    when the next one is asked for, or the bot's own code ends.
    """

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self.ended: bool = False
        self.left = False  # the store was told all, and the leases were given up
        self.handled: int = 0
        self.began: float = time.time()
        self.past_known = False  # every queue's past was read since a lease was gained
        self.on_change: Callable[[], None] = lambda: None
        self.on_shown: Callable[[AdminMessage], None] | None = None
        self.subscriptions: list[Callable[[], None]] = []
        self._moved_at = 0.0
        self._held: Lane | None = None
        self._holder: Any = None  # the task that has it; None when that cannot be told
        self._watched: weakref.WeakSet[Any] = weakref.WeakSet()
        self._arrival: anyio.Event | None = None
        self._past: dict[Queue, Past] = {}
        self._announced: deque[AdminMessage] = deque(maxlen=_ANNOUNCED)
        self._handled_ids: OrderedDict[str, None] = OrderedDict()
        self._shown_ids: OrderedDict[str, None] = OrderedDict()
        self._control_ids: OrderedDict[str, None] = OrderedDict()

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

    def progress(self) -> dict[str, Any]:
        """Return how far `main` has come, for operators.

        Returns:
            ``handled``: how many messages; ``moved_s``: seconds since it last took one or was done with one,
            None before the first; ``holds_s``: for how long it has had the one in hand, None if it has none.
        """
        since_s = round(time.monotonic() - self._moved_at, 1) if self._moved_at else None
        return {
            "handled": self.handled,
            "moved_s": since_s,
            "holds_s": since_s if self._held is not None else None,
        }

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
        """Return whether a message of that id was handled, by this bot or who served its queues before."""
        if message_id in self._handled_ids:
            return True
        digest = id_digest(message_id)
        return any(digest in past.handled for past in self._past.values())

    def is_new_control(self, control_id: str) -> bool:
        """Return whether a control command came for the first time: one may come from each store."""
        is_new = control_id not in self._control_ids
        _remember(self._control_ids, control_id)
        return is_new

    def twins(self, lane: Lane) -> list[Lane]:
        """Return the lanes of the same queue in other stores: what one holds, another may hold as well."""
        queue = lane.queue
        return [
            other
            for other in self.lanes
            if (other.queue.kind, other.queue.key) == (queue.kind, queue.key) and other is not lane
        ]

    def learn(self, queue: Queue, past: Past) -> None:
        """Take in what became of a queue's messages before."""
        self._past[queue] = past

    def announce(self, message: AdminMessage) -> None:
        """Take in a message that no queue holds, unless it was shown already. The oldest of many are lost."""
        if not self.ended and not self._was_met(message.id):
            self._announced.append(message)
            self.arrived()

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
        while self._announced:
            message = self._announced.popleft()
            if not self._was_met(message.id):  # its repeat came before anybody read it
                lane = Lane(NO_QUEUE)
                lane.message = message
                return lane
        return None

    def _hand_out(self, lane: Lane, message: AdminMessage, reader: Any) -> AdminMessage:
        lane.phase = Phase.HELD
        self._moved_at = time.monotonic()
        self._held = lane
        self._holder = None if _only_fetches(reader) else reader
        if self._holder is not None and reader not in self._watched:
            self._watched.add(reader)
            tasks.on_end(reader, lambda: self._holder_ended(reader))
        if not message.redelivered and self._may_have_been_shown(lane, message.id):
            message = lane.message = msgspec.structs.replace(message, redelivered=True)
        _remember(self._shown_ids, message.id)
        if self.on_shown is not None:
            self.on_shown(message)
        return message

    def _may_have_been_shown(self, lane: Lane, message_id: str) -> bool:
        digest = id_digest(message_id)
        for queue, past in self._past.items():
            if digest in past.dead or (digest == past.in_flight and queue != lane.queue):
                return True
        twins = [lane.message for lane in self.lanes if lane.message and lane.message.id == message_id]
        return message_id in self._shown_ids or any(twin.redelivered for twin in twins)

    def _was_met(self, message_id: str) -> bool:
        return message_id in self._shown_ids or self.was_handled(message_id)

    def _holder_ended(self, reader: Any) -> None:
        if self._held is not None and self._holder is reader:
            self._settle(handled=tasks.outcome(reader) == "returned")

    def _settle(self, *, handled: bool) -> None:
        lane, self._held, self._holder = self._held, None, None
        if lane is None or lane.phase is not Phase.HELD:
            return
        lane.finish(handled=handled)
        self._moved_at = time.monotonic()
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
