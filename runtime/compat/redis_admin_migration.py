"""The guide's `redis_admin_migration`: admin messages, written from plain code and polled in a loop."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from botvisor.config import Settings
from botvisor.errors import SupervisorStopped, describe
from botvisor.messages import AdminMessage
from botvisor.shared import shared_supervisor

from .beat import text_of
from .listener import open_listener
from .portal import call, settings_in_use

Process = Callable[[dict[str, Any]], Awaitable[object]]
Writer = Callable[[int | str, Mapping[str, Any]], None]


class Loop(Protocol):
    """What `get_admin_message_polling_loop` returns."""

    async def __call__(self, key: int | str, process: Process, room_url: str | None = None) -> None:
        """Hand messages on until it is cancelled; see there."""


def get_write_admin_message() -> Writer | None:
    """Return a function that sends an admin message, or None while there is no Redis.

    Returns:
        ``write(key, event)``. The key is a bot's pid or id, or a room's URL; the event has all fields of a
        message, such as `prompt` and `senderId`. It raises what `RedisClient.send_admin_message` does, blocks
        for 2.5 s at most, and keeps to files while Redis is away.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    def write(key: int | str, event: Mapping[str, Any]) -> None:
        call(settings, lambda client: client.send_admin_message(key, event))

    return write


def get_admin_message_polling_loop() -> Loop | None:
    """Return a function that hands a bot's messages on as they come, or None while there is no Redis.

    Returns:
        ``await loop(key, process, room_url=None)``, to be cancelled when it shall end. The key is the bot's
        pid or id, or a room's URL; with `room_url` the messages for that room come too. It awaits
        `process(event)` for each message, in its own event loop, one after the other: `event` has the
        message's fields, and `prompt`, `senderId`, `senderName`, `mode`, `timestamp`, `room_url`, `id`,
        `redelivered` and `tries`.

        A message is done when `process` has returned. If that raises, or the loop is cancelled, the message
        is delivered again; after three tries it becomes a dead letter. The loop raises `QueueTaken` when a
        live bot takes these messages itself.

    Raises:
        BotvisorError: when Redis cannot be used as the environment says.
    """
    settings = settings_in_use()
    if settings is None:
        return None

    async def loop(key: int | str, process: Process, room_url: str | None = None) -> None:
        await _poll(settings, text_of(key), process, room_url or "")

    return loop


async def _poll(settings: Settings, key: str, process: Process, room_url: str) -> None:
    async with shared_supervisor(settings) as supervisor, open_listener(supervisor, key, room_url) as inbox:
        async for message in inbox:
            try:
                await process(_event(message, room_url))
            except Exception as error:
                text = f"{message.id} for {key} was not handled: {describe(error)}"
                supervisor.log.warning("admin", text, traceback.format_exc())
                inbox.reader_ended(handled=False)
        raise SupervisorStopped  # else it goes on until it is cancelled


def _event(message: AdminMessage, room_url: str) -> dict[str, Any]:
    return {
        **message.data,
        "id": message.id,
        "prompt": message.text,
        "senderId": message.sender_id,
        "senderName": message.sender_name,
        "mode": message.mode,
        "timestamp": message.data.get("timestamp") or message.timestamp,
        "room_url": message.room_url or room_url,
        "redelivered": message.redelivered,
        "tries": message.tries,
    }
