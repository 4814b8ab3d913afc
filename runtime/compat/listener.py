"""A listener: an inbox without a bot, for those who poll a queue in a loop of their own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import anyio

from botvisor import bot_id as ids
from botvisor.actors.inbox import InboxActor
from botvisor.actors.lane_steps import leave
from botvisor.bot_supervisor import BotSupervisor
from botvisor.cell import Cell
from botvisor.control import Control
from botvisor.errors import BotIdTaken, QueueTaken
from botvisor.inbox import Inbox
from botvisor.lane import Lane
from botvisor.process import Owner, new_instance, own
from botvisor.restart import Policy
from botvisor.target import queue_of


@contextlib.asynccontextmanager
async def open_listener(supervisor: BotSupervisor, key: str, room_url: str) -> AsyncIterator[Inbox]:
    """Take the messages of a bot or a room for the length of a block.

    Args:
        supervisor: the event loop's.
        key: the bot's id; or a room's URL.
        room_url: the bot's room; without one it gets no room's messages.

    Yields:
        The inbox.

    Raises:
        QueueTaken: when a live bot takes the bot's messages. For a room's the listener stands by meanwhile.
        StartFailed: when the inbox did not start.
        ValueError: when the key is neither an id nor a URL.
    """
    log, settings = supervisor.log, supervisor.settings
    queue = queue_of(key, lower_path=settings.canonicalize_lower_path)
    owner = (
        await _take(supervisor, key)
        if queue.kind == "bot"
        else own(f"listener-{new_instance()}", new_instance())
    )
    inbox = Inbox()
    inbox.lanes = [
        Lane(each)
        for each in ids.queues(owner, room_url or (key if queue.kind == "room" else ""), settings)
        if each.kind != "bot" or each.key == key
    ]

    def ignore(control: Control) -> None:
        log.warning("admin", f"Ignored {control}: {key} is polled, and no bot that can be told so")

    cell = Cell(
        f"{owner.bot_id}/listener",
        lambda: InboxActor(inbox, owner, supervisor.backend, supervisor.storage.doorbell, ignore, log),
        supervisor.core.timers,
    )
    try:
        await supervisor.core.start(cell, Policy(), lambda _: inbox.end())
        yield inbox
    finally:
        inbox.end()
        with anyio.CancelScope(shield=True):
            await supervisor.core.stop(cell.name, "nobody polls any more")
            inbox.unsubscribe()
            # Whoever ends all tasks of an event loop at once leaves nobody who could tell the stores.
            if not inbox.left and not supervisor.core.ended.is_set():
                await leave(inbox, owner, supervisor.backend, log)
        supervisor.taken_ids.discard(owner.bot_id)


async def _take(supervisor: BotSupervisor, key: str) -> Owner:
    try:
        return await ids.acquire(
            key, supervisor.settings, supervisor.taken_ids, supervisor.backend, supervisor.log
        )
    except BotIdTaken as error:
        raise QueueTaken(f"bot {key}", error.owner) from error
