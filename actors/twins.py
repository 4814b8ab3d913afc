"""Twins: one message in both stores, as a write that timed out may have happened after all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from botvisor.errors import MalformedMessage
from botvisor.inbox import Inbox
from botvisor.lane import Lane
from botvisor.message_forms import parse_object, read_id
from botvisor.store import Claim, Command, ReadReceipt

Ask = Callable[[Sequence[Command]], Awaitable[list[Any]]]


async def unmask(inbox: Inbox, lanes: Sequence[Lane], answers: Sequence[Any], ask: Ask) -> list[Any]:
    """Find out which of some claims another bot was shown from the other store.

    What this bot itself was shown it knows. Another one may serve the same room in the other store.

    Args:
        inbox: the inbox.
        lanes: the lanes that were looked at.
        answers: what the stores answered for each: claims among them.
        ask: asks the backend.

    Returns:
        The answers, the claims of what was handled or shown elsewhere being marked so.
    """
    found = list(answers)
    suspects: list[tuple[int, ReadReceipt]] = []
    for place, (lane, answer) in enumerate(zip(lanes, answers, strict=True)):
        if isinstance(answer, Claim) and answer.tries == 1 and not answer.done:
            known_by = _id_of(answer)
            twins = [twin for twin in inbox.twins(lane) if not twin.leased]
            suspects += [(place, ReadReceipt(twin.queue, known_by)) for twin in twins]
    if not suspects:
        return found
    states = await ask([command for _, command in suspects])
    for (place, _), state in zip(suspects, states, strict=True):
        if state == "handled":
            found[place] = msgspec.structs.replace(found[place], done=True)
        elif state in ("delivered", "dead"):
            found[place] = msgspec.structs.replace(found[place], doubtful=True)
    return found


def _id_of(claim: Claim) -> str:
    try:
        return read_id(parse_object(claim.raw).get("id")) or claim.name
    except MalformedMessage:
        return claim.name
