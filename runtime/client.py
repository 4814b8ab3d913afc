"""The operator's side: messages to bots, and what their heartbeats say."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import msgspec

from botvisor.actors.backend.outbox_tender import OutboxTender
from botvisor.config import Settings, load_settings

from .control import Command as ControlCommand
from .control import compose_control
from .errors import MalformedMessage, NotStored, StoreError, StoreUnavailable
from .logs import Log, via
from .mending import DropMessage, RequeueMessage
from .message_forms import Mode, known_by
from .messages import compose_message, mark_resent
from .observer import Observer
from .receipt import Receipt, placed
from .ref import Ref
from .shared import shared_supervisor
from .store import Broadcast, PushControl, PushMessage, Queue, QueuedMessage, ReadReceipt
from .target import bot_only

_POLL_FIRST_S = 0.01
_POLL_LAST_S = 0.25


class Client(Observer):
    """Sends messages, and reads what bots have written. Made by `open_client`.

    Args:
        backend: the backend actor.
        settings: the settings.
        log: where it says what it does.
        outbox: keeps durable messages; None where every message is durable, or there are no files.
        one_shot: it closes once it has sent, so the spool is no place for who is not served on this host.
        state: returns where everything is kept just now; see `Storage`.
    """

    def __init__(
        self,
        backend: Ref[Any, Any],
        settings: Settings,
        log: Log,
        *,
        outbox: OutboxTender | None = None,
        one_shot: bool = False,
        state: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(backend, settings, state)
        self._log = log
        self._outbox = outbox
        self._one_shot = one_shot

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
            durable: survive a Redis that loses its memory: a copy is synced to this host's disk first, and
                sent again, marked, for as long as nobody knows of the message, for 3,000 s. On files every
                message is synced to the disk before this returns, so there it changes nothing.
            spool: with a one-shot client, accept this host's spool for a target elsewhere: it is forwarded
                once another program of this host reaches Redis. On files alone there is no elsewhere.

        Returns:
            The receipt; with `wait` it says how far the message came within that time.

        Raises:
            NotStored: no store took it; or it cannot be durable, as `BOT_FILE_FALLBACK` is off.
            MalformedMessage: it cannot be written as JSON, has no text, or is over 1 MiB.
        """
        began = anyio.current_time()
        queue = self._queue(target)
        room_url = target if queue.kind == "room" else ""
        message_id, raw = _compose(payload, room_url, mode, sender_id, sender_name)
        durable, elsewhere = durable and self._settings.use_redis, spool or not self._one_shot
        try:
            answer = await self._push(PushMessage(queue, message_id, raw, durable, elsewhere))
        except StoreError as error:
            self._log.error("admin", f"Could not send an admin message to {queue.kind} {target}: {error}")
            raise NotStored(target, str(error)) from error
        where, fallback = placed(answer)
        self._log.info("admin", f"Sent admin message to {queue.kind} {target} via {via(where)}")
        stored_ms = _elapsed_ms(began)
        receipt = Receipt(
            id=message_id,
            target=target,
            state="stored",
            where=where,
            fallback=fallback,
            stored_ms=stored_ms,
        )
        return receipt if wait is None else await self._follow(receipt, queue, began, wait)

    async def broadcast(
        self,
        payload: str | Mapping[str, Any],
        *,
        mode: Mode | None = None,
        sender_id: str | None = None,
        sender_name: str | None = None,
    ) -> int:
        """Send a message to every bot that listens just now: best effort, kept nowhere, with no receipt.

        Args:
            payload: see `send`; so are the others.
            mode: ``immediate`` or ``queued``.
            sender_id: who sends it.
            sender_name: the sender's name.

        Returns:
            How many connections got it: one for each process with bots, and those of other programs.

        Raises:
            NotStored: Redis is away, or not used: nobody got it.
            MalformedMessage: see `send`.
        """
        _, raw = _compose(payload, "", mode, sender_id, sender_name)
        try:
            heard: int = await self._ask(Broadcast(raw))
        except StoreError as error:
            raise NotStored("every bot", str(error)) from error
        return heard

    async def receipt(self, receipt: Receipt) -> Receipt:
        """Return how far a message has come by now; its times stay as `send` has seen them.

        Raises:
            StoreError: when no store answered.
        """
        state = await self._ask(ReadReceipt(self._queue(receipt.target), receipt.id))
        return msgspec.structs.replace(receipt, state=receipt.advanced(state, 0.0).state)

    async def requeue(self, target: str | Queue, message: QueuedMessage) -> bool:
        """Put a dead letter back at the end of its queue; it is delivered marked as a repeat.

        Args:
            target: the bot's id or the room that it was listed for; or its queue.
            message: the letter, as `messages` or `inbox` lists it.

        Returns:
            Whether it was still there.

        Raises:
            StoreError: when no store answered, or no bot could be shown it.
            ValueError: when the target is neither a bot's id nor a room.
        """
        raw = message.raw
        with contextlib.suppress(MalformedMessage):  # what is no message goes back as it is
            raw = mark_resent(raw)
        handle = known_by(message.raw, message.name)
        command = RequeueMessage(self._holder(target, message), message.entry, handle, raw)
        found: bool = await self._ask(command)
        return found

    async def drop(self, target: str | Queue, message: QueuedMessage) -> bool:
        """Delete a message that waits or was given up, and this host's copy of it.

        See `requeue` for the parameters, the result and the errors.
        """
        holder = self._holder(target, message)
        found: bool = await self._ask(DropMessage(holder, message.entry))
        here = msgspec.structs.replace(holder, store="file")
        for copy in await self._copies(holder, message):
            await self._ask(DropMessage(here, copy.entry))
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
        control_id = f"ctl_{uuid.uuid4().hex}"
        raw = compose_control(control_id, command, arguments, sender="client")
        try:
            await self._ask(PushControl(bot_only(bot_id), control_id, raw, elsewhere=not self._one_shot))
        except StoreError as error:
            raise NotStored(bot_id, str(error)) from error
        return control_id

    async def _push(self, command: PushMessage) -> Any:
        if not command.durable:
            return await self._ask(command)
        if self._outbox is None:
            raise StoreError("a durable message is kept on this host's files, and BOT_FILE_FALLBACK is off")
        return await self._outbox.send(command, self._ask)

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

    def _holder(self, target: str | Queue, message: QueuedMessage) -> Queue:
        queue = target if isinstance(target, Queue) else self._queue(target)
        return msgspec.structs.replace(queue, store=message.store)


@contextlib.asynccontextmanager
async def open_client(settings: Settings | None = None, *, one_shot: bool = False) -> AsyncIterator[Client]:
    """Open the operator's side; it needs no bot of its own, and shares the backend with those there are.

    Args:
        settings: None reads the environment.
        one_shot: it is closed once it has sent. While Redis is away it then sends to who is served on this
            host, and refuses all others: a client that stays open forwards its spool itself.

    Yields:
        The client.

    Raises:
        SettingsError: when the environment holds bad values.
        StartFailed: when the backend did not start.
    """
    settings = settings or load_settings()
    async with shared_supervisor(settings) as supervisor:
        yield Client(
            supervisor.backend,
            settings,
            supervisor.log,
            outbox=supervisor.outbox,
            one_shot=one_shot,
            state=supervisor.store_state,
        )


def _compose(
    payload: str | Mapping[str, Any],
    room_url: str,
    mode: Mode | None,
    sender_id: str | None,
    sender_name: str | None,
) -> tuple[str, bytes]:
    return compose_message(
        payload,
        room_url=room_url,
        mode=mode,
        sender_id=sender_id,
        sender_name=sender_name,
        now=time.time(),
        token=uuid.uuid4().hex[:8],
    )


def _elapsed_ms(began: float) -> float:
    return round((anyio.current_time() - began) * 1000, 1)
