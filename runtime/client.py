"""The operator's side: messages to bots, and what their heartbeats say."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import msgspec

from botvisor.config import Settings, load_settings

from .control import Command as ControlCommand
from .control import Control
from .errors import ActorError, NotStored, StoreError, StoreUnavailable
from .heartbeat import Heartbeat
from .logs import Log
from .message_forms import Mode
from .messages import compose_message
from .receipt import Receipt
from .ref import Ref
from .room import canonical_room
from .shared import shared_supervisor
from .store import (
    Command,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    PushControl,
    PushMessage,
    Queue,
    QueuedMessage,
    ReadHeartbeat,
    ReadReceipt,
)
from .wire import valid_bot_id

_TIMEOUT_S = 5.0
_POLL_FIRST_S = 0.01
_POLL_LAST_S = 0.25


class Client:
    """Sends messages, and reads what bots have written. Made by `open_client`.

    Args:
        backend: the backend actor.
        settings: the settings.
        log: where it says what it does.
    """

    def __init__(self, backend: Ref, settings: Settings, log: Log) -> None:
        self._backend = backend
        self._settings = settings
        self._log = log

    async def send(
        self,
        target: str,
        payload: str | Mapping[str, Any],
        *,
        wait: float | None = None,
        mode: Mode | None = None,
        sender_id: str | None = None,
        sender_name: str | None = None,
        durable: bool = False,
        spool: bool = False,
    ) -> Receipt:
        """Send a message to a bot, or to the bot that serves a room.

        Args:
            target: a bot's id, or a room's URL.
            payload: the text; or a mapping, whose `message` is the text and whose other fields go with it.
            wait: how long to wait for it to be handled, in seconds; None returns once it is stored.
            mode: ``immediate`` or ``queued``.
            sender_id: who sends it.
            sender_name: the sender's name.
            durable: survive a store that loses its memory. On files every message is synced to the disk
                before this returns, so there it changes nothing.
            spool: accept this host's spool for a target elsewhere. On files alone there is no elsewhere.

        Returns:
            The receipt; with `wait` it says how far the message came within that time.

        Raises:
            NotStored: no store took it.
            MalformedMessage: it cannot be written as JSON, has no text, or is over 1 MiB.
        """
        began = anyio.current_time()
        queue = self._queue(target)
        message_id, raw = compose_message(
            payload,
            room_url=target if queue.kind == "room" else "",
            mode=mode,
            sender_id=sender_id,
            sender_name=sender_name,
            now=time.time(),
            token=uuid.uuid4().hex[:8],
        )
        try:
            where = await self._ask(PushMessage(queue, message_id, raw))
        except StoreError as error:
            self._log.error("admin", f"Could not send an admin message to {queue.kind} {target}: {error}")
            raise NotStored(target, str(error)) from error
        self._log.info("admin", f"Sent admin message to {queue.kind} {target} via {self._log.backend}")
        stored_ms = _elapsed_ms(began)
        receipt = Receipt(id=message_id, target=target, state="stored", where=where, stored_ms=stored_ms)
        return receipt if wait is None else await self._follow(receipt, queue, began, wait)

    async def receipt(self, receipt: Receipt) -> Receipt:
        """Return how far a message has come by now; its times stay as `send` has seen them.

        Raises:
            StoreError: when no store answered.
        """
        state = await self._ask(ReadReceipt(self._queue(receipt.target), receipt.id))
        return msgspec.structs.replace(receipt, state=receipt.advanced(state, 0.0).state)

    async def heartbeats(self) -> list[Heartbeat]:
        """Return the last heartbeat of every bot, the stopped and the lost ones included.

        Raises:
            StoreError: when no store answered.
        """
        found: list[Heartbeat] = await self._ask(ListHeartbeats())
        return found

    async def heartbeat(self, bot_id: str) -> Heartbeat | None:
        """Return the last heartbeat of a bot, or None when there is none.

        Raises:
            StoreError: when no store answered.
            ValueError: when the id is not a valid one.
        """
        found: Heartbeat | None = await self._ask(ReadHeartbeat(_valid(bot_id)))
        return found

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

    async def control(self, bot_id: str, command: ControlCommand, **arguments: Any) -> str:
        """Send a control command to a bot; its `main` never sees it.

        Args:
            bot_id: the bot.
            command: ``stop``, ``drain``, ``restart``; or ``stack``, which is answered in `health["stack"]` of
                the bot's next heartbeats.
            arguments: ``actor="heartbeat"`` for ``restart``.

        Returns:
            The command's id.

        Raises:
            NotStored: no store took it.
            ValueError: when the id or the command is not a valid one.
        """
        try:
            heartbeat = await self.heartbeat(bot_id)
        except StoreError as error:
            raise NotStored(bot_id, str(error)) from error
        if heartbeat is not None and heartbeat.instance:
            arguments.setdefault("instance", heartbeat.instance)  # a successor is not to obey
        control = Control(id=f"ctl_{uuid.uuid4().hex}", command=command, arguments=arguments, sender="client")
        try:
            raw = msgspec.json.encode(control)
            msgspec.json.decode(raw, type=Control)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error
        try:
            await self._ask(PushControl(_valid(bot_id), control.id, raw))
        except StoreError as error:
            raise NotStored(bot_id, str(error)) from error
        return control.id

    async def _follow(self, receipt: Receipt, queue: Queue, began: float, wait: float) -> Receipt:
        pause_s = _POLL_FIRST_S
        while (left_s := wait - (anyio.current_time() - began)) > 0 and receipt.state not in (
            "handled",
            "dead",
        ):
            await anyio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _POLL_LAST_S)
            with contextlib.suppress(StoreUnavailable):  # it is stored: only the news of it fails to come
                state = await self._ask(ReadReceipt(queue, receipt.id))
                receipt = receipt.advanced(state, _elapsed_ms(began))
        return receipt

    def _queue(self, target: str) -> Queue:
        if valid_bot_id(target):
            return Queue("bot", target)
        if "/" in target:
            return Queue("room", canonical_room(target, lower_path=self._settings.canonicalize_lower_path))
        raise ValueError(f"{target!r} is neither a bot's id (A-Z a-z 0-9 . _ : -) nor a room's URL")

    async def _ask(self, command: Command) -> Any:
        try:
            return await self._backend.ask(command, timeout=_TIMEOUT_S)
        except ActorError as error:
            raise StoreUnavailable(str(error)) from error


@contextlib.asynccontextmanager
async def open_client(settings: Settings | None = None) -> AsyncIterator[Client]:
    """Open the operator's side; it needs no bot of its own, and shares the backend with those there are.

    Args:
        settings: None reads the environment.

    Yields:
        The client.

    Raises:
        SettingsError: when the environment holds bad values.
        StartFailed: when the backend did not start.
    """
    settings = settings or load_settings()
    async with shared_supervisor(settings) as supervisor:
        yield Client(supervisor.backend, settings, supervisor.log)


def _valid(bot_id: str) -> str:
    if not valid_bot_id(bot_id):
        raise ValueError(f"a bot id is 1 to 128 of A-Z a-z 0-9 . _ : -, not {bot_id!r}")
    return bot_id


def _elapsed_ms(began: float) -> float:
    return round((anyio.current_time() - began) * 1000, 1)
