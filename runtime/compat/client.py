"""The client of the guide's `redis_client`: over Redis, and over files where there is no Redis."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import anyio

from botvisor import tasks
from botvisor.bot_supervisor import BotSupervisor
from botvisor.envelope import result_of
from botvisor.errors import ActorError, NotStored, StoreError, StoreUnavailable
from botvisor.identities import new_identity
from botvisor.logs import via
from botvisor.messages import compose_message
from botvisor.process import new_instance
from botvisor.receipt import placed
from botvisor.store import (
    CleanUpIdentities,
    Command,
    ListIdentities,
    PushMessage,
    ReadHeartbeat,
    ReadIdentity,
    WriteHeartbeat,
    WriteIdentity,
)
from botvisor.target import queue_of

from .asking import TIMEOUT_S
from .beat import fields_of, key_of, record_of, text_of
from .collectors import Collectors

# What a gateway's message has for a field of the file form.
_OLDER_NAMES = (("message", "prompt"), ("sender_id", "senderId"), ("sender_name", "senderName"))


async def _nothing() -> None:
    pass


class RedisClient:
    """Heartbeats, identities and admin messages, for callers on one event loop.

    While Redis is away, and with `USE_REDIS` off, it keeps to the files of this host.

    Args:
        supervisor: the event loop's.
        leave: ends its use of the supervisor.
    """

    def __init__(self, supervisor: BotSupervisor, leave: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._supervisor = supervisor
        self._backend = supervisor.backend
        self._log = supervisor.log
        self._ping = supervisor.storage.ping
        self._writer = new_instance()
        self._random = random.Random()  # noqa: S311 - it tells messages apart, and asks the system nothing
        self._collectors = Collectors(supervisor)
        self._leave = leave
        self._running_loop = tasks.loop_reader()
        self._loop = self._running_loop()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed, or has ended with what it runs on."""
        return self._closed or self._supervisor.ended.is_set()

    async def send_heartbeat(self, pid: int | str, room_url: str, participants: Iterable[str]) -> None:
        """Write a bot's heartbeat. It lives for 30 seconds.

        Args:
            pid: the bot's pid or id.
            room_url: the bot's room.
            participants: who is in it.

        Raises:
            TypeError, ValueError: when they are not such.
            StoreError: when no store took it.
        """
        key = key_of(pid)
        await self._ask(WriteHeartbeat(key, fields_of(key, room_url, participants)))
        self._log.info("heartbeat", f"Sent heartbeat for bot {key}")

    async def get_heartbeat(self, pid: int | str) -> dict[str, Any] | None:
        """Return the `pid`, `room_url`, `participants` and `timestamp` of a bot's last heartbeat.

        Args:
            pid: the bot's pid or id.

        Returns:
            None when there is none, or none any more.

        Raises:
            TypeError, ValueError: when it is no pid.
            StoreError: when no store answered.
        """
        return record_of(await self._ask(ReadHeartbeat(key_of(pid), living=True)))

    async def write_identity(self, room_url: str, participant_id: str, data: Mapping[str, Any]) -> None:
        """Share what is known of a participant, for 24 hours.

        Args:
            room_url: the room.
            participant_id: the participant.
            data: what JSON can hold.

        Raises:
            TypeError, ValueError: when it cannot be written as JSON, of at most 1 MiB.
            StoreError: when no store took it.
        """
        await self._ask(WriteIdentity(new_identity(room_url, participant_id, data, self._writer)))
        self._log.info("identity", f"Stored identity for participant {participant_id}")

    async def read_identity(self, room_url: str, participant_id: str) -> dict[str, Any] | None:
        """Return what is known of a participant, or None.

        Args:
            room_url: the room.
            participant_id: the participant.

        Returns:
            His data, with `participant_id`, `room_url` and `timestamp`.

        Raises:
            StoreError: when no store answered.
        """
        found = await self._ask(ReadIdentity(room_url, participant_id))
        return found.merged() if found is not None else None

    async def scan_identities(self, room_url: str) -> list[dict[str, Any]]:
        """Return what is known of everybody in a room; see `read_identity`.

        Raises:
            StoreError: when no store answered.
        """
        return [identity.merged() for identity in await self._ask(ListIdentities(room_url))]

    async def cleanup_expired_identities(self, room_url: str) -> int:
        """Remove what has expired of a room's identities.

        What older programs left is put in order: it enters the room's index, and without a lifetime it
        gets one of 24 hours.

        Returns:
            How many entries of the index had no identity behind them any more.

        Raises:
            StoreError: when no store answered.
        """
        removed: int = await self._ask(CleanUpIdentities(room_url))
        return removed

    async def send_admin_message(self, bot_pid: int | str, message: str | Mapping[str, Any]) -> None:
        """Send a message to a bot. It waits for an hour for the bot.

        Args:
            bot_pid: the bot's pid or id; or a room's URL, for the bot that serves it.
            message: the text; or all fields of a message.

        Raises:
            NotStored: no store took it.
            MalformedMessage: it says nothing, cannot be written as JSON, or is over 1 MiB.
            TypeError, ValueError: when there can be no such bot.
        """
        target = text_of(bot_pid)
        queue = queue_of(target, lower_path=self._supervisor.settings.canonicalize_lower_path)
        message_id, raw = compose_message(
            message if isinstance(message, str) else _readable(message),
            room_url=target if queue.kind == "room" else "",
            now=time.time(),
            token=f"{self._random.getrandbits(32):08x}",
        )
        try:
            where, _ = placed(await self._ask(PushMessage(queue, message_id, raw)))
        except StoreError as error:
            self._log.error("admin", f"Could not send an admin message to {queue.kind} {target}: {error}")
            raise NotStored(target, str(error)) from error
        self._log.info("admin", f"Sent admin message to {queue.kind} {target} via {via(where)}")

    async def get_admin_messages(self, bot_pid: int | str) -> list[dict[str, Any]]:
        """Return the messages that wait for a bot, oldest first.

        They stay in the queue until this process asks for that bot's messages again, or closes the client: if
        it dies before, the next one to ask gets them again. Until then no bot can be started under that id.

        Args:
            bot_pid: the bot's pid or id.

        Returns:
            The fields of each message, with an `id`; and with `redelivered` if it may have been returned
            before.

        Raises:
            QueueTaken: when a live bot takes these messages itself.
            StoreError: when no store answered.
            TypeError, ValueError: when there can be no such bot.
        """
        self._check_open()
        return await self._collectors.collect(key_of(bot_pid))

    async def ping(self) -> bool:
        """Return whether Redis is used and answers."""
        if self.closed or self._ping is None:
            return False
        self._check_open()
        return await self._ping()

    async def close(self) -> None:
        """Let go of everything; the messages that were returned last are done then. May be called twice."""
        if self.closed:
            self._closed = True
            return
        self._check_open()
        self._closed = True
        try:
            await self._collectors.close()
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave()

    async def _ask(self, command: Command) -> Any:
        # Written out, as is what `asking.ask` does: callers by the hundred pay for each call. In another loop
        # than its own an ask would never end.
        if self._closed or self._running_loop() is not self._loop:
            self._check_open()
        try:
            return result_of(await self._backend.begin(command, timeout=TIMEOUT_S))
        except ActorError as error:
            raise StoreUnavailable(str(error)) from error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the client was closed: call get_redis_client() again")
        if self._running_loop() is not self._loop:
            raise StoreUnavailable(
                "the client serves another event loop: call get_redis_client() in this one"
            )


def _readable(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message of the file form with the fields that older bots look for on Redis, too."""
    if not isinstance(message, Mapping):
        raise TypeError(f"a message is a text or a mapping, not {type(message).__name__}")
    added = {
        name: message[other] for name, other in _OLDER_NAMES if message.get(other) and name not in message
    }
    return {**message, **added}
