"""The steps of an inbox's lanes: what the store is asked about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from botvisor.errors import LeaseLost, StoreAway, describe
from botvisor.inbox import Inbox
from botvisor.lane import Lane, Phase
from botvisor.logs import Log
from botvisor.process import Owner
from botvisor.ref import Ref
from botvisor.store import BuryMessage, Command, NextMessage, ReleaseLease, ReturnMessage

TIMEOUT_S = 4.5  # the batch that is in flight may take its 2 s before ours takes the same


async def leave(inbox: Inbox, owner: Owner, backend: Ref[Any, Any], log: Log) -> None:
    """Settle what can be settled, and give the leases up; what `main` left unhandled stays in flight.

    Args:
        inbox: the inbox.
        owner: whose leases they are.
        backend: the backend actor.
        log: where failures are told.
    """
    commands: list[Command] = []
    for lane in inbox.lanes:
        if lane.phase in (Phase.DONE, Phase.MALFORMED):
            commands.append(next_step(lane, owner, take=False))
        elif lane.phase is Phase.READY and lane.claim is not None:
            commands.append(ReturnMessage(lane.queue, owner.instance, lane.claim.token))
    # Not in one batch: a command that has to be tried again would find its lease released.
    releases: list[Command] = [ReleaseLease(lane.queue, owner.instance) for lane in inbox.lanes]
    answers = [*await ask(backend, commands), *await ask(backend, releases)]
    inbox.left = True
    errors = failures(answers)
    if errors:
        log.error(
            "admin",
            f"The inbox of bot {owner.bot_id} stopped before the store knew all: {describe(errors[0])}",
        )


def next_step(lane: Lane, owner: Owner, *, take: bool) -> Command:
    """Return the command that tells the store what became of a lane's message, and claims the next one."""
    if lane.phase is Phase.MALFORMED and lane.claim is not None:
        return BuryMessage(lane.queue, owner.instance, lane.claim.token, lane.problem, malformed=True)
    return NextMessage(lane.queue, owner.instance, f"{owner.instance}-{lane.attempt}", lane.done(), take)


def failures(answers: Sequence[Any]) -> list[Exception]:
    """Return what went wrong: neither a lease that went to somebody else, nor a store that is away."""
    return [a for a in answers if isinstance(a, Exception) and not isinstance(a, (LeaseLost, StoreAway))]


async def ask(backend: Ref[Any, Any], commands: Sequence[Command]) -> list[Any]:
    """Ask the backend for several things at once; see `Ref.ask_all`."""
    return await backend.ask_all(commands, timeout=TIMEOUT_S) if commands else []
