"""Collecting: what waits for a bot is returned at once, and stays in its queue until the next time."""

from __future__ import annotations

import uuid
from collections import Counter, OrderedDict
from collections.abc import Container
from typing import Any

import anyio

from botvisor import tasks
from botvisor.bot_id import in_stores
from botvisor.bot_supervisor import BotSupervisor
from botvisor.errors import (
    MalformedMessage,
    QueueTaken,
    StoreError,
    StoreUnavailable,
    UnsafeDirectory,
    describe,
)
from botvisor.messages import AdminMessage, decode_message
from botvisor.process import Owner, new_instance, own
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Claim,
    Command,
    Done,
    ListMessages,
    NextMessage,
    Past,
    Queue,
    QueuedMessage,
    ReadPast,
    ReleaseLease,
    ReturnMessage,
)
from botvisor.wire import id_digest

from .asking import TIMEOUT_S, ask

_REMEMBERED = 10_000  # ids


class _Part:
    """A bot's queue in one store.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.leased = False
        self.past = Past()  # what became of its messages until we had the lease
        self.head: Claim | None = None  # in flight, and returned
        self.nameless: Counter[bytes] = Counter()  # returned, and waiting behind it: without ids of their own

    def forget(self) -> None:
        """Somebody else may have taken from the queue: what is known of it is known no longer."""
        self.head = None
        self.nameless.clear()


class _Catch:
    """What one call is going to return."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.ids: dict[str, None] = {}
        self.heads: list[tuple[_Part, Claim]] = []
        self.nameless: list[tuple[_Part, bytes]] = []

    def add(self, message: AdminMessage, name: str) -> None:
        if message.id:
            self.ids[message.id] = None
        # A place in a list is no name: it is another's in the next call.
        made_up = uuid.uuid4().hex if name.startswith("#") else name
        mark = {"redelivered": True} if message.redelivered else {}
        self.messages.append({**message.data, "id": message.id or made_up, **mark})


class Collector:
    """Collects the messages of one bot, for one process.

    A store has one message of a queue in flight; the others that were returned are only looked at, and wait
    behind it. They are acknowledged one after the other, each as it is claimed.

    Args:
        key: the bot's id.
        supervisor: the event loop's.
    """

    def __init__(self, key: str, supervisor: BotSupervisor) -> None:
        self._key = key
        self._owner = own(key, new_instance())
        self._parts = [_Part(queue) for queue in in_stores(Queue("bot", key), supervisor.settings)]
        self._returned_ids: OrderedDict[str, None] = OrderedDict()
        self.move(supervisor)

    def move(self, supervisor: BotSupervisor) -> None:
        """Go on in another event loop; the one before has ended."""
        self.supervisor = supervisor
        self._loop = tasks.loop_reader()()
        self._backend = supervisor.backend
        self._log = supervisor.log
        self._lock = anyio.Lock()

    @property
    def abandoned(self) -> bool:
        """Whether the event loop that it served has ended."""
        return self.supervisor.ended.is_set() or tasks.is_closed(self._loop)

    async def collect(self) -> list[dict[str, Any]]:
        """Acknowledge what was returned before, and return what waits now; see `get_admin_messages`.

        Raises:
            QueueTaken: when somebody else takes these messages.
            StoreError: when no store answered.
        """
        async with self._lock:
            await self._lease()
            catch = _Catch()
            errors: list[StoreError] = []
            parts = [part for part in self._parts if part.leased]
            for part in parts:
                try:
                    await self._collect(part, catch)
                except StoreError as error:
                    errors.append(error)
            if len(errors) == len(parts):
                raise errors[0]
            # Not before: what a cancelled call would have returned was not returned.
            self._remember(catch)
            return catch.messages

    def leases(self) -> list[Command]:
        """Return the commands that renew what is held."""
        return [AcquireLease(part.queue, self._owner) for part in self._parts if part.leased]

    async def close(self) -> None:
        """Acknowledge what was returned before, and let others take the messages."""
        async with self._lock:
            for part in self._parts:
                try:
                    if part.head is not None and (claim := await self._acknowledge(part, ())) is not None:
                        await self._ask(ReturnMessage(part.queue, self._owner.instance, claim.token))
                except StoreError as error:
                    self._log.error(
                        "admin", f"Messages of bot {self._key} may be returned again: {describe(error)}"
                    )
            await self._release()

    async def _lease(self) -> None:
        commands = [AcquireLease(part.queue, self._owner) for part in self._parts]
        answers = await self._backend.ask_all(commands, timeout=TIMEOUT_S)
        gained = False
        for part, answer in zip(self._parts, answers, strict=True):
            gained = gained or (answer is None and not part.leased)
            part.leased = answer is None
        taken = next((answer for answer in answers if isinstance(answer, Owner)), None)
        unsafe = next((answer for answer in answers if isinstance(answer, UnsafeDirectory)), None)
        if taken is not None or unsafe is not None:
            await self._release()
        if taken is not None:
            raise QueueTaken(f"bot {self._key}", str(taken))
        if unsafe is not None:
            raise unsafe
        if not any(part.leased for part in self._parts):
            raise StoreUnavailable(f"the queue of bot {self._key} cannot be reached: {answers[0]}")
        if gained:
            await self._read_past()

    async def _read_past(self) -> None:
        """Read what became of the messages: what was taken from one store may lie in the other as well."""
        commands = [ReadPast(part.queue, self._owner.instance) for part in self._parts]
        answers = await self._backend.ask_all(commands, timeout=TIMEOUT_S)
        for part, answer in zip(self._parts, answers, strict=True):
            if isinstance(answer, Past):
                part.past = answer

    async def _release(self) -> None:
        releases = [ReleaseLease(part.queue, self._owner.instance) for part in self._parts if part.leased]
        for part in self._parts:
            part.leased = False
            part.forget()
        if releases:
            await self._backend.ask_all(releases, timeout=TIMEOUT_S)

    async def _collect(self, part: _Part, catch: _Catch) -> None:
        head = await self._acknowledge(part, catch.ids)
        if head is None:
            return
        catch.heads.append((part, head))
        catch.add(_read(head), head.name)
        skipped = part.nameless.copy()  # of an earlier call: something has come in before them
        waiting: list[QueuedMessage] = await self._ask(ListMessages(part.queue))
        for each in waiting:
            try:
                message = decode_message(
                    each.raw, fallback_id="", source=each.state, received_at=each.stored_at
                )
            except MalformedMessage:
                continue  # it is dealt with when it is claimed
            if each.state != "stored" or message.id in catch.ids or self._is_known(message.id):
                continue
            if not message.id:
                if skipped[each.raw] > 0:
                    skipped[each.raw] -= 1
                    continue
                catch.nameless.append((part, each.raw))
            catch.add(message, each.name)

    async def _acknowledge(self, part: _Part, others: Container[str]) -> Claim | None:
        """Acknowledge what was returned before.

        Args:
            part: what is meant.
            others: the ids of messages whose repeats are acknowledged, too.

        Returns:
            What is in flight then, and was not returned yet.
        """
        claim, head = await self._next(part, None), part.head
        if claim is None or head is None or (claim.token, claim.tries) != (head.token, head.tries):
            part.forget()
        while claim is not None:
            try:
                message = _read(claim)
            except MalformedMessage as error:
                claim = await self._bury(part, claim, error.reason)
                continue
            if not (claim.done or message.id in others or self._was_returned(part, claim, message)):
                break
            part.head = None
            claim = await self._next(part, Done(claim.token, message.id or claim.name))
        return claim

    def _was_returned(self, part: _Part, claim: Claim, message: AdminMessage) -> bool:
        if message.id:
            return self._is_known(message.id)
        if part.head is not None:  # the first to be acknowledged, or it was forgotten
            return True
        if part.nameless[claim.raw] > 0:
            part.nameless[claim.raw] -= 1
            return True
        return False

    def _is_known(self, message_id: str) -> bool:
        if not message_id:
            return False
        digest = id_digest(message_id)
        return message_id in self._returned_ids or any(digest in part.past.handled for part in self._parts)

    def _remember(self, catch: _Catch) -> None:
        for part, head in catch.heads:
            part.head = head
        for part, raw in catch.nameless:
            part.nameless[raw] += 1
        for message_id in catch.ids:
            self._returned_ids[message_id] = None
            if len(self._returned_ids) > _REMEMBERED:
                self._returned_ids.popitem(last=False)

    async def _bury(self, part: _Part, claim: Claim, reason: str) -> Claim | None:
        self._log.warning("admin", f"Quarantined {claim.name} of {part.queue}: {reason}")
        await self._ask(BuryMessage(part.queue, self._owner.instance, claim.token, reason, malformed=True))
        return await self._next(part, None)

    async def _next(self, part: _Part, done: Done | None) -> Claim | None:
        # One name for all calls: what this process is shown again is no further try.
        attempt = f"{self._owner.instance}-0"
        claim: Claim | None = await self._ask(NextMessage(part.queue, self._owner.instance, attempt, done))
        return claim

    async def _ask(self, command: Command) -> Any:
        return await ask(self._backend, command)


def _read(claim: Claim) -> AdminMessage:
    return decode_message(
        claim.raw,
        fallback_id="",
        source=claim.source,
        tries=claim.tries,
        redelivered=claim.tries > 1 or claim.doubtful,
        received_at=claim.stored_at,
    )
