"""Reads what bots have written: the half of a client that changes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from botvisor.actors.backend.spool_names import is_forwarded
from botvisor.config import Settings

from . import bot_id, liveness
from .blocked import with_dumps
from .errors import ActorError, StoreError, StoreUnavailable
from .heartbeat import Heartbeat
from .mending import Dump, ListDumps
from .message_forms import known_by
from .ref import Ref
from .store import (
    Command,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    MessageState,
    Queue,
    QueuedMessage,
    ReadHeartbeat,
    ReadReceipt,
)
from .target import bot_only, queue_of

_TIMEOUT_S = 5.0


class Observer:
    """Reads heartbeats, identities and queues.

    Args:
        backend: the backend actor.
        settings: the settings.
        state: returns where everything is kept just now; see `Storage`.
    """

    def __init__(
        self, backend: Ref[Any, Any], settings: Settings, state: Callable[[], dict[str, Any]] | None = None
    ) -> None:
        self._backend = backend
        self._settings = settings
        self._state = state

    def away(self) -> str | None:
        """Return why Redis is not used although the settings want it, in words; None if all is well."""
        state = self._state() if self._state is not None and self._settings.use_redis else {"mode": "redis"}
        return None if state["mode"] == "redis" else state.get("reason") or "it does not answer"

    async def heartbeats(self) -> list[Heartbeat]:
        """Return the last heartbeat of every bot, the stopped and the lost ones included.

        Of bots of this host that cannot write one, as they hold the interpreter's lock, it tells so.

        Raises:
            StoreError: when no store answered.
        """
        found: list[Heartbeat] = await self._ask(ListHeartbeats())
        return await self._with_dumps(found)

    async def heartbeat(self, bot_id: str) -> Heartbeat | None:
        """Return the last heartbeat of a bot, or None when there is none; see `heartbeats`.

        Raises:
            StoreError: when no store answered.
            ValueError: when the id is not a valid one.
        """
        found: Heartbeat | None = await self._ask(ReadHeartbeat(bot_only(bot_id)))
        return None if found is None else (await self._with_dumps([found]))[0]

    async def identities(self, room_url: str) -> list[dict[str, Any]]:
        """Return what is known of the participants of a room.

        Raises:
            StoreError: when no store answered.
        """
        return [identity.merged() for identity in await self._ask(ListIdentities(room_url))]

    async def messages(self, target: str) -> list[QueuedMessage]:
        """Return what waits for a bot or a room, is in flight, or was given up, without taking anything.

        Raises:
            StoreError: when no store answered.
            ValueError: when the target is neither a bot's id nor a room.
        """
        found: list[QueuedMessage] = await self._ask(ListMessages(self._queue(target)))
        return found

    async def inbox(self, target: str) -> list[tuple[Queue, QueuedMessage]]:
        """Return what `messages` does, of every queue that the bot serves: its id's, its pid's, its room's.

        Args:
            target: a bot's id, or a room's URL.

        Returns:
            Each message with the queue that holds it, the oldest first.

        Raises:
            StoreError: when no store answered.
            ValueError: when the target is neither a bot's id nor a room.
        """
        queue = self._queue(target)
        queues = [queue]
        if queue.kind == "room":
            queues.append(Queue("pre-spawn", queue.key))
        elif (heartbeat := await self._ask(ReadHeartbeat(target))) is not None:
            queues = bot_id.queues(liveness.owner(heartbeat), heartbeat.room_url, self._settings)
        found = [(each, message) for each in queues for message in await self._list(each)]
        on_redis = {known_by(each.raw, each.name) for _, each in found if each.store == "redis"}
        kept = [
            (each, message)
            for each, message in found
            if not is_forwarded(message.entry) or await self._is_needed(each, message, on_redis)
        ]
        return sorted(kept, key=lambda pair: pair[1].stored_at)

    async def _copies(self, holder: Queue, message: QueuedMessage) -> list[QueuedMessage]:
        """Return the copies that this host's spool has of a message on Redis, for bots that keep to files."""
        if holder.store != "redis" or not self._settings.file_fallback:
            return []
        found = await self._ask(ListMessages(msgspec.structs.replace(holder, store="file")))
        message_id = known_by(message.raw, message.name)
        return [
            each for each in found if is_forwarded(each.entry) and known_by(each.raw, each.name) == message_id
        ]

    async def _is_needed(self, queue: Queue, copy: QueuedMessage, on_redis: set[str]) -> bool:
        """Return whether a spool's copy of what Redis was given is all there is of a message."""
        message_id = known_by(copy.raw, copy.name)
        if message_id in on_redis:
            return False
        # It goes a little later than its message, which may have been handled.
        anywhere = msgspec.structs.replace(queue, store="")
        state: MessageState = await self._ask(ReadReceipt(anywhere, message_id))
        return state != "handled"

    async def _list(self, queue: Queue) -> list[QueuedMessage]:
        try:
            found: list[QueuedMessage] = await self._ask(ListMessages(queue))
        except StoreError:
            if not queue.store:
                raise
            return []  # the other store has a queue of its own; that one is away is told apart from this
        return found

    async def _with_dumps(self, heartbeats: Sequence[Heartbeat]) -> list[Heartbeat]:
        dumps: list[Dump] = []
        with contextlib.suppress(StoreError):  # there may be no files, or none that can be used
            dumps = await self._ask(ListDumps())
        return with_dumps(heartbeats, dumps)

    def _queue(self, target: str) -> Queue:
        return queue_of(target, lower_path=self._settings.canonicalize_lower_path)

    async def _ask(self, command: Command) -> Any:
        try:
            return await self._backend.ask(command, timeout=_TIMEOUT_S)
        except ActorError as error:
            raise StoreUnavailable(str(error)) from error
