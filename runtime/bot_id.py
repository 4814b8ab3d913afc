"""Ids of bots: given ones must be free, derived ones give way."""

from __future__ import annotations

import os
from collections.abc import Iterator

from botvisor.config import Settings, in_kubernetes

from .errors import ActorError, BotIdTaken, StartFailed, StoreError, UnsafeDirectory
from .logs import Log
from .process import Owner, host, new_instance, own
from .ref import Ref
from .store import AcquireLease, Queue
from .wire import valid_bot_id

_TIMEOUT_S = 5.0
_MOST_BOTS = 100_000  # in one process


async def acquire(given: str | None, settings: Settings, taken: set[str], backend: Ref, log: Log) -> Owner:
    """Find a bot its id, and take the lease of its queue.

    Args:
        given: the id that the caller wants; None takes `BOT_ID` or derives one.
        settings: hold `BOT_ID`.
        taken: the ids of this process's bots; the new one is added.
        backend: the backend actor.
        log: where it is said that the lease could not be asked for.

    Returns:
        The owner record of the new bot.

    Raises:
        BotIdTaken: when another live bot has the given id.
        StartFailed: when the leases are in an unsafe directory.
        ValueError: when the given id is not a valid one.
    """
    if given is not None and not valid_bot_id(given):
        raise ValueError(f"a bot id is 1 to 128 of A-Z a-z 0-9 . _ : -, not {given!r}")
    for bot_id in _candidates(given, settings.bot_id, taken):
        if bot_id in taken:
            raise BotIdTaken(bot_id, "another bot of this process")
        owner = own(bot_id, new_instance())
        taken.add(bot_id)
        try:
            other = await _lease(owner, backend, log)
        except BaseException:
            taken.discard(bot_id)
            raise
        if other is None:
            return owner
        taken.discard(bot_id)
        if given is not None or settings.bot_id is not None:
            raise BotIdTaken(bot_id, str(other))
    raise RuntimeError("no id is free")


async def _lease(owner: Owner, backend: Ref, log: Log) -> Owner | None:
    try:
        other: Owner | None = await backend.ask(
            AcquireLease(Queue("bot", owner.bot_id), owner), timeout=_TIMEOUT_S
        )
    except UnsafeDirectory as error:
        raise StartFailed(f"{owner.bot_id}/inbox", error) from error
    except (StoreError, ActorError) as error:
        # The call goes on without a store; the inbox tries for the lease again.
        log.error("admin", f"Could not ask whether bot id {owner.bot_id} is free: {error}")
        return None
    return other


def _candidates(given: str | None, configured: str | None, taken: set[str]) -> Iterator[str]:
    if given is not None:
        yield given
        return
    pid = os.getpid()
    # A pid means something on its own host alone, and little in a container.
    derived = [f"{host()}-{pid}"]
    if pid != 1 and not in_kubernetes():
        derived.insert(0, str(pid))
    for base in [configured] if configured else derived:
        for number in range(1, _MOST_BOTS):
            bot_id = base if number == 1 else f"{base}.{number}"
            if bot_id not in taken:
                yield bot_id
                break
