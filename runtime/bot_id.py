"""Ids of bots, and their queues: a given id must be free, a derived one gives way."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import anyio
import msgspec

from botvisor.config import Settings, in_kubernetes

from .errors import BotIdTaken, StartFailed, StoreAway, UnsafeDirectory
from .logs import Log
from .process import Owner, gone, host, new_instance, own
from .ref import Ref
from .room import canonical_room
from .store import AcquireLease, Queue, ReleaseLease, StoreName
from .wire import valid_bot_id

_TIMEOUT_S = 5.0
_RELEASE_TIMEOUT_S = 2.0
_HOST_CHARS = 100
_NO_ID_CHARACTERS = re.compile(r"[^A-Za-z0-9._:-]")


async def acquire(
    given: str | None, settings: Settings, taken: set[str], backend: Ref[Any, Any], log: Log
) -> Owner:
    """Find a bot its id, and take the lease of its queue.

    Args:
        given: the id that the caller wants; None takes `BOT_ID` or derives one.
        settings: hold `BOT_ID`.
        taken: the ids of this supervisor's bots; the new one is added.
        backend: the backend actor.
        log: where it is said that the lease could not be asked for, or that its holder may be dead.

    Returns:
        The owner record of the new bot. Where the given id's holder may be dead, its lease is not taken yet.

    Raises:
        BotIdTaken: when another live bot has the given id.
        StartFailed: when the leases are in an unsafe directory.
        ValueError: when the given id is not a valid one.
    """
    claims = _Claims(settings, taken, backend, log)
    if given is not None:
        if given in taken:
            raise BotIdTaken(given, "another bot of this process")
        other, owner = await claims.claim(given, stands_by=True)
        if other is not None:
            raise BotIdTaken(given, str(other))
        return owner
    for base in _bases(settings):
        for bot_id in _numbered(base):
            if bot_id in taken:
                continue
            other, owner = await claims.claim(bot_id, stands_by=settings.bot_id is not None)
            if other is None:
                return owner
            if _is_ours(other):
                continue  # it is another supervisor's bot
            if settings.bot_id is not None:
                raise BotIdTaken(bot_id, str(other))
            break
    raise BotIdTaken(bot_id, str(other))


def queues(owner: Owner, room_url: str, settings: Settings) -> list[Queue]:
    """Return the queues that a bot serves, or would if another bot did not.

    Args:
        owner: the bot.
        room_url: its room; without one there are no room queues.
        settings: tell whether rooms differ in the case of their path.
    """
    pid = str(owner.pid)
    found = in_stores(Queue("bot", owner.bot_id), settings)
    if pid not in (owner.bot_id, "1"):  # every container has a pid 1
        found += in_stores(Queue("bot", pid), settings)
    if room_url:
        canonical = canonical_room(room_url, lower_path=settings.canonicalize_lower_path)
        for room in dict.fromkeys((room_url, canonical)):
            forms = in_stores(Queue("room", room), settings)
            # On files a room has one queue, however its URL is written.
            found += [queue for queue in forms if room == canonical or queue.store != "file"]
        found += in_stores(Queue("pre-spawn", canonical), settings)
    return found


def in_stores(queue: Queue, settings: Settings) -> list[Queue]:
    """Return a queue as it is in each store that the bot drains."""
    if not settings.use_redis:
        return [queue]
    stores: tuple[StoreName, ...] = ("redis", "file") if settings.file_fallback else ("redis",)
    return [msgspec.structs.replace(queue, store=store) for store in stores]


class _Claims:
    """Claims ids: each in all the stores that a bot drains.

    Args:
        settings: tell which stores those are.
        taken: the ids of this supervisor's bots.
        backend: the backend actor.
        log: where it says what is uncertain.
    """

    def __init__(self, settings: Settings, taken: set[str], backend: Ref[Any, Any], log: Log) -> None:
        self._settings = settings
        self._taken = taken
        self._backend = backend
        self._log = log

    async def claim(self, bot_id: str, *, stands_by: bool) -> tuple[Owner | None, Owner]:
        """Return who else has an id, or None, and the bot's own record.

        Args:
            bot_id: the id.
            stands_by: start beside a holder that may be dead, as it cannot be judged from here.
        """
        if not valid_bot_id(bot_id):
            raise ValueError(f"a bot id is 1 to 128 of A-Z a-z 0-9 . _ : -, not {bot_id!r}")
        owner, queues = own(bot_id, new_instance()), in_stores(Queue("bot", bot_id), self._settings)
        self._taken.add(bot_id)
        free = False
        try:
            answers = await self._backend.ask_all(
                [AcquireLease(queue, owner) for queue in queues], timeout=_TIMEOUT_S
            )
            other = self._judge(bot_id, queues, answers, stands_by=stands_by)
            free = other is None
        finally:
            if not free:
                self._taken.discard(bot_id)
                await self._give_up(owner, queues)
        return other, owner

    def _judge(
        self, bot_id: str, queues: list[Queue], answers: list[Any], *, stands_by: bool
    ) -> Owner | None:
        for queue, answer in zip(queues, answers, strict=True):
            if isinstance(answer, UnsafeDirectory):
                raise StartFailed(f"{bot_id}/inbox", answer) from answer
            if isinstance(answer, Owner):
                # A lease on files is a lock: whoever holds it lives. On Redis one outlives its holder.
                if queue.store == "redis" and stands_by and gone(answer) is None:
                    self._log.warning(
                        "admin",
                        f"{answer} holds bot id {bot_id}, and may be dead: the inbox stands by until its "
                        "lease has run out",
                    )
                    continue
                return answer
            if isinstance(answer, Exception) and not isinstance(answer, StoreAway):
                # The call goes on without a store; the inbox tries for the lease again.
                self._log.warning("admin", f"Could not ask whether bot id {bot_id} is free: {answer}")
        return None

    async def _give_up(self, owner: Owner, queues: list[Queue]) -> None:
        # One may have been ours already. Nothing is raised, and it does not take long.
        with anyio.CancelScope(shield=True):
            releases = [ReleaseLease(queue, owner.instance) for queue in queues]
            await self._backend.ask_all(releases, timeout=_RELEASE_TIMEOUT_S)


def _bases(settings: Settings) -> Iterator[str]:
    if settings.bot_id is not None:
        yield settings.bot_id
        return
    pid = os.getpid()
    # A pid means something on its own host alone, and little in a container.
    if pid != 1 and not in_kubernetes():
        yield str(pid)
    yield f"{_NO_ID_CHARACTERS.sub('-', host())[:_HOST_CHARS]}-{pid}"


def _numbered(base: str) -> Iterator[str]:
    yield base
    for number in itertools.count(2):
        yield f"{base}.{number}"


def _is_ours(owner: Owner) -> bool:
    return owner == own(owner.bot_id, owner.instance)
