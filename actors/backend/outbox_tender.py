"""The tender of the outbox: sends durable messages again that Redis has lost, and forgets those handled."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from botvisor.errors import StoreError, StoreUnavailable
from botvisor.logs import Log
from botvisor.store import Command, IsKept, PushMessage, Queue, ReadReceipt, Store, StoreName

from .outbox import Copy, Outbox, draft
from .spool_access import SpoolAccess

T = TypeVar("T")

EVERY_S = 5.0
GIVE_UP_S = 3_000.0  # less than the 3,600 s for which a message and its mark are kept

_CHUNK = 100
_MISSES = 2  # Redis may be back before the bot has told it again what it had handled
_PAUSE_S = 60.0
_NAMED = 5  # of those sent again, in the log
_LIMIT_S = 5.0
_DROP_LIMIT_S = 2.0
_ENDED = ("handled", "dead")


class OutboxTender:
    """Looks after an outbox. Its `run` must run for as long as messages are sent.

    Args:
        outbox: the outbox.
        store: the failover: asked of either of its stores.
        log: where it says what it does.
        every_s: how long it waits between two looks.
        give_up_s: how old a message may be to be sent again.
    """

    def __init__(
        self,
        outbox: Outbox,
        store: Store,
        log: Log,
        *,
        every_s: float = EVERY_S,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._log = log
        self._every_s = every_s
        self._give_up_s = give_up_s
        self._access = SpoolAccess(log)
        # Its own: where an outbox hangs, not all else that needs a thread is to hang as well.
        self._limiter = anyio.CapacityLimiter(4)

    async def send(self, command: PushMessage, push: Callable[[PushMessage], Awaitable[str]]) -> str:
        """Send a message that survives a Redis that loses its memory.

        Args:
            command: the message.
            push: hands it to the store.

        Returns:
            What `push` returned.

        Raises:
            StoreError: when no copy can be kept; then nothing was sent.
            Exception: what `push` raised; then no copy is left.
        """
        copy, raw = draft(command)
        try:
            await self._keep(copy, raw)
            where = await push(command)
        except BaseException:
            await self._drop_unsent(copy)
            raise
        copy.pushed = True
        return where

    async def run(self, started: Callable[[], None]) -> None:
        """Tend the outbox, again and again. Never returns.

        Args:
            started: called at once.
        """
        started()
        while True:
            # First of all it waits: a program that ends at once had better leave others' copies to others.
            await anyio.sleep(self._every_s)
            await self.tend()

    async def tend(self) -> None:
        """Take over what the dead have left, and look once at everything that is kept."""
        adopted = await self._access.run(self._outbox.adopt)
        if adopted is None:
            return  # nor can anything be read, or deleted
        if adopted:
            self._log.info("admin", f"Took over {adopted} durable messages of senders that ended")
        oldest = await self._access.run(functools.partial(self._outbox.clock.oldest_s, self._give_up_s))
        if oldest is None:
            return
        copies = self._outbox.copies()
        for chunk in _chunks([copy for copy in copies if copy.sent_at <= oldest]):
            await self._give_up(chunk)
        for chunk in _chunks([copy for copy in copies if copy.sent_at > oldest]):
            await self._look(chunk)

    async def _look(self, copies: Sequence[Copy]) -> None:
        now = time.monotonic()
        marks = await self._ask(copies, lambda queue, known_by: IsKept(queue, known_by), "redis")
        unmarked = {id(copy) for copy, kept in zip(copies, marks, strict=True) if kept is False}
        # A receipt of a long queue costs Redis more than a mark: with the mark there it has time.
        due = [
            copy
            for copy, kept in zip(copies, marks, strict=True)
            if kept is False or (kept is True and copy.look_at <= now)
        ]
        missing: list[Copy] = []
        for copy, state in await self._receipts(due, "redis"):
            if state == "unknown" and id(copy) in unmarked:
                missing.append(copy)
            elif isinstance(state, str):
                copy.misses = 0
                copy.pause_s = min(max(copy.pause_s * 2, self._every_s), _PAUSE_S)
                copy.look_at = now + copy.pause_s
        lost: list[Copy] = []
        for copy, state in await self._receipts(missing, "file"):
            if isinstance(state, str):  # the spool may have it, or one who served it there has handled it
                copy.misses = copy.misses + 1 if state == "unknown" else 0
                if copy.misses >= _MISSES:
                    lost.append(copy)
        await self._send_again(lost)

    async def _receipts(self, copies: Sequence[Copy], store: StoreName) -> list[tuple[Copy, Any]]:
        """Read receipts; what has ended is kept no longer. Returns what has not, each with its state."""
        states = await self._ask(copies, lambda queue, known_by: ReadReceipt(queue, known_by), store)
        pairs = list(zip(copies, states, strict=True))
        for copy, state in pairs:
            if state in _ENDED:
                await self._access.run(functools.partial(self._outbox.drop, copy))
        return [(copy, state) for copy, state in pairs if state not in _ENDED]

    async def _send_again(self, copies: Sequence[Copy]) -> None:
        sent: list[Copy] = []
        for copy in copies:  # one by one: a batch of the largest would be 100 MiB
            raw = await self._access.run(functools.partial(self._outbox.read, copy))
            if raw is None:
                continue  # it cannot be read just now, or somebody took it away
            command = PushMessage(_in_store(copy.queue, "redis"), copy.message_id, raw, durable=True)
            (answer,) = await self._store.execute([command])
            if isinstance(answer, Exception):
                self._log.warning("admin", f"Could not send {copy.message_id} again: {answer}")
                break
            copy.misses = 0
            sent.append(copy)
        if sent:
            ids = ", ".join(copy.message_id for copy in sent[:_NAMED])
            more = f" and {len(sent) - _NAMED} more" if len(sent) > _NAMED else ""
            self._log.warning("admin", f"Sent again what Redis had lost: {ids}{more}")

    async def _give_up(self, copies: Sequence[Copy]) -> None:
        for copy, state in await self._receipts(copies, ""):
            known = f"it is {state}" if isinstance(state, str) else f"its state cannot be read: {state}"
            self._log.error(
                "admin",
                f"Gave up {copy.message_id} for {copy.queue}: not handled within {self._give_up_s:g} s; "
                f"{known}, and if it gets lost it is not sent again",
            )
            await self._access.run(functools.partial(self._outbox.drop, copy))

    async def _keep(self, copy: Copy, raw: bytes) -> None:
        try:
            with anyio.fail_after(_LIMIT_S):
                await self._in_thread(functools.partial(self._outbox.keep, copy, raw))
        except TimeoutError as error:
            raise StoreUnavailable("the outbox did not answer in time") from error

    async def _drop_unsent(self, copy: Copy) -> None:
        """Delete a copy whose message was not sent, or nobody knows: its sender is told that it failed."""
        copy.wanted = False
        problem = "the outbox did not answer in time"
        with anyio.move_on_after(_DROP_LIMIT_S, shield=True):
            try:
                await self._in_thread(functools.partial(self._outbox.drop, copy))
            except StoreError as error:
                problem = str(error)
            else:
                return
        self._log.error(
            "admin", f"{copy.message_id} for {copy.queue} was not sent, and its copy may yet be: {problem}"
        )

    async def _ask(
        self, copies: Sequence[Copy], command: Callable[[Queue, str], Command], store: StoreName
    ) -> list[Any]:
        commands = [command(_in_store(copy.queue, store), copy.message_id) for copy in copies]
        return await self._store.execute(commands) if commands else []

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._limiter)


def _in_store(queue: Queue, store: StoreName) -> Queue:
    return Queue(queue.kind, queue.key, store)


def _chunks(copies: Sequence[Copy]) -> Iterator[Sequence[Copy]]:
    for start in range(0, len(copies), _CHUNK):
        yield copies[start : start + _CHUNK]
