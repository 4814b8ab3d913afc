"""What a command ends with that both stores were asked: Redis, and the files of this host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from botvisor import liveness
from botvisor.heartbeat import Heartbeat
from botvisor.identity import Identity
from botvisor.mending import ForgetBot
from botvisor.message_forms import known_by
from botvisor.store import (
    Command,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    MessageState,
    QueuedMessage,
    ReadHeartbeat,
    ReadReceipt,
    Sweep,
)
from botvisor.wire import HEARTBEAT_TTL_S

from .spool_names import is_forwarded

# The further a message has come, the later.
_STATES: tuple[MessageState, ...] = ("unknown", "stored", "delivered", "dead", "handled")


def merge(command: Command, redis: Any, files: Any) -> Any:
    """Return what a command ends with.

    One of two answers may be an error; the other is the result then. Only that a message is *unknown* cannot
    be said without both.

    Args:
        command: the command.
        redis: Redis's answer.
        files: that of the files.
    """
    if isinstance(redis, Exception):
        return redis if isinstance(files, Exception) or files == "unknown" else files
    if isinstance(files, Exception):
        return files if isinstance(command, Sweep) or redis == "unknown" else redis
    match command:
        case ReadReceipt():
            return furthest((redis, files))
        case ListMessages():
            return sorted([*redis, *_without_twins(files, redis)], key=lambda message: message.stored_at)
        case ListHeartbeats():
            return _newest_beats(redis, files)
        case ListIdentities():
            return _latest_identities(redis, files)
        case ForgetBot():
            return redis or files
        case ReadHeartbeat() if redis is not None and files is not None:
            return max(redis, files, key=_liveness)
    return files if redis is None else redis if files is None else redis + files


def furthest(states: Iterable[MessageState]) -> MessageState:
    """Return how far a message has come that is in several places."""
    return max(states, key=_STATES.index)


def settles(answer: Any) -> bool:
    """Return whether Redis's answer to what is looked for there first needs no look at the files."""
    if isinstance(answer, Heartbeat):
        # Its bot may live on, without Redis.
        return answer.status not in liveness.ENDED
    return answer is not None


def _without_twins(files: Sequence[QueuedMessage], redis: Sequence[QueuedMessage]) -> list[QueuedMessage]:
    """Leave out what only waits in the spool for who does not look on Redis."""
    if not any(is_forwarded(message.entry) for message in files):
        return list(files)
    there = {known_by(message.raw, message.name) for message in redis}
    return [
        message
        for message in files
        if not (is_forwarded(message.entry) and known_by(message.raw, message.name) in there)
    ]


def _newest_beats(redis: Sequence[Heartbeat], files: Sequence[Heartbeat]) -> list[Heartbeat]:
    newest = {_name(beat): beat for beat in redis}
    for beat in files:
        other = newest.get(_name(beat))
        newest[_name(beat)] = beat if other is None else max(other, beat, key=_liveness)
    return list(newest.values())


def _latest_identities(redis: Sequence[Identity], files: Sequence[Identity]) -> list[Identity]:
    latest = {identity.participant_id: identity for identity in redis}
    for identity in files:
        other = latest.get(identity.participant_id)
        if other is None or other.version() < identity.version():
            latest[identity.participant_id] = identity
    return sorted(latest.values(), key=lambda identity: identity.participant_id)


def _name(beat: Heartbeat) -> str:
    return beat.bot_id or str(beat.pid)


def _liveness(beat: Heartbeat) -> tuple[bool, float]:
    """Return what decides between two heartbeats of one bot: one that lives, then the later one."""
    return liveness.status(beat, HEARTBEAT_TTL_S) not in liveness.ENDED, -liveness.age_s(beat)
