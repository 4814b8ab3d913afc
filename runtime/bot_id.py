"""Ids of bots, and their queues: a given id must be free, a derived one gives way."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator

import anyio

from botvisor.config import Settings, in_kubernetes

from .errors import ActorError, BotIdTaken, StartFailed, StoreError, UnsafeDirectory
from .logs import Log
from .process import Owner, host, new_instance, own
from .ref import Ref
from .room import canonical_room
from .store import AcquireLease, Queue, ReleaseLease
from .wire import valid_bot_id

_TIMEOUT_S = 5.0
_RELEASE_TIMEOUT_S = 2.0
_HOST_CHARS = 100
_NO_ID_CHARACTERS = re.compile(r"[^A-Za-z0-9._:-]")


async def acquire(given: str | None, settings: Settings, taken: set[str], backend: Ref, log: Log) -> Owner:
    """Find a bot its id, and take the lease of its queue.

    Args:
        given: the id that the caller wants; None takes `BOT_ID` or derives one.
        settings: hold `BOT_ID`.
        taken: the ids of this supervisor's bots; the new one is added.
        backend: the backend actor.
        log: where it is said that the lease could not be asked for.

    Returns:
        The owner record of the new bot.

    Raises:
        BotIdTaken: when another live bot has the given id.
        StartFailed: when the leases are in an unsafe directory.
        ValueError: when the given id is not a valid one.
    """
    if given is not None:
        if given in taken:
            raise BotIdTaken(given, "another bot of this process")
        other, owner = await _try(given, taken, backend, log)
        if other is not None:
            raise BotIdTaken(given, str(other))
        return owner
    for base in _bases(settings):
        for bot_id in _numbered(base):
            if bot_id in taken:
                continue
            other, owner = await _try(bot_id, taken, backend, log)
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
    found = [Queue("bot", owner.bot_id)]
    if pid not in (owner.bot_id, "1"):  # every container has a pid 1
        found.append(Queue("bot", pid))
    if room_url:
        canonical = canonical_room(room_url, lower_path=settings.canonicalize_lower_path)
        found += [Queue("room", room) for room in dict.fromkeys((room_url, canonical))]
        found.append(Queue("pre-spawn", canonical))
    return found


async def _give_up(owner: Owner, queue: Queue, backend: Ref) -> None:
    # It may have been ours already. Nothing is raised, and it does not take long.
    with anyio.CancelScope(shield=True):
        await backend.ask_all([ReleaseLease(queue, owner.instance)], timeout=_RELEASE_TIMEOUT_S)


async def _try(bot_id: str, taken: set[str], backend: Ref, log: Log) -> tuple[Owner | None, Owner]:
    """Return who else has an id, or None, and the bot's own record."""
    if not valid_bot_id(bot_id):
        raise ValueError(f"a bot id is 1 to 128 of A-Z a-z 0-9 . _ : -, not {bot_id!r}")
    owner, queue = own(bot_id, new_instance()), Queue("bot", bot_id)
    taken.add(bot_id)
    other: Owner | None = None
    try:
        other = await backend.ask(AcquireLease(queue, owner), timeout=_TIMEOUT_S)
    except UnsafeDirectory as error:
        taken.discard(bot_id)
        raise StartFailed(f"{bot_id}/inbox", error) from error
    except (StoreError, ActorError) as error:
        # The call goes on without a store; the inbox tries for the lease again.
        log.warning("admin", f"Could not ask whether bot id {bot_id} is free: {error}")
    except BaseException:
        taken.discard(bot_id)
        await _give_up(owner, queue, backend)
        raise
    if other is not None:
        taken.discard(bot_id)
    return other, owner


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
