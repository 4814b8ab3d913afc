"""What Redis missed while it was away, and is told first when it is back."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, NamedTuple

from botvisor.errors import StoreUnavailable
from botvisor.identity import Identity
from botvisor.logs import Log
from botvisor.process import Owner
from botvisor.store import (
    AcquireLease,
    Command,
    Done,
    NextMessage,
    Queue,
    ReadIdentity,
    ReleaseLease,
    WriteHeartbeat,
    WriteIdentity,
)
from botvisor.wire import HEARTBEAT_TTL_S

from .redis_errors import RedisUnavailable

_CHUNK = 100
_DONES = 10_000
_IDENTITIES = 10_000  # the oldest beyond these stay on the files of this host
_ATTEMPT = "replay"  # nothing is claimed under this name

Execute = Callable[[Sequence[Command]], Awaitable[list[Any]]]


class LateDone(NamedTuple):
    """A message that was handled, and who handled it."""

    queue: Queue
    owner: Owner
    done: Done


class Replay:
    """Keeps what Redis is to be told, and tells it, each once.

    Args:
        log: where it says what could not be told.

    Attributes:
        fresh: whether something came since `run` began.
    """

    def __init__(self, log: Log) -> None:
        self.fresh = False
        self._log = log
        self._newest: dict[str, tuple[float, WriteHeartbeat]] = {}  # of the bots that live, and when
        self._dones: OrderedDict[Hashable, LateDone] = OrderedDict()
        self._beats: OrderedDict[str, WriteHeartbeat] = OrderedDict()
        self._identities: OrderedDict[Hashable, WriteIdentity] = OrderedDict()

    def __len__(self) -> int:
        """Return how much Redis has yet to be told."""
        return len(self._dones) + len(self._beats) + len(self._identities)

    def newest_beat(self) -> WriteHeartbeat | None:
        """Return the heartbeat that was written last, for a probe; None if no bot seems to live."""
        self._expire()
        return next(reversed(self._newest.values()))[1] if self._newest else None

    def see(self, beats: Sequence[WriteHeartbeat]) -> None:
        """Remember the newest heartbeats of bots, wherever they go."""
        now, newest = time.monotonic(), self._newest
        for beat in beats:
            newest.pop(beat.bot_id, None)
            self._beats.pop(beat.bot_id, None)  # if this one fails it is kept in its place
            if not _is_last(beat):
                newest[beat.bot_id] = (now, beat)

    def lose(self) -> None:
        """Redis is away from now on: it may forget, so every bot's heartbeat goes there again."""
        self._expire()
        for bot_id, (_, beat) in self._newest.items():
            self._beats.setdefault(bot_id, beat)

    def _expire(self) -> None:
        """Forget the bots that beat no more: a replay must not bring them back to life."""
        oldest = time.monotonic() - HEARTBEAT_TTL_S
        for bot_id in [bot_id for bot_id, (at, _) in self._newest.items() if at < oldest]:
            del self._newest[bot_id]
        for bot_id in [bot_id for bot_id, beat in self._beats.items() if not _is_last(beat)]:
            if bot_id not in self._newest:
                del self._beats[bot_id]

    def keep(self, command: Command) -> Callable[[], None]:
        """Keep a write that goes to the files; of each bot and each participant only the newest.

        Returns:
            What to call if the write fails there: whoever asked for it is told so, and what was kept before
            it is kept again. Of several writes the last one is taken back first.
        """
        match command:
            case WriteHeartbeat(bot_id):
                return self._put(self._beats, bot_id, command)
            case WriteIdentity(identity):
                key = (identity.room_url, identity.participant_id)
                kept = self._identities.get(key)
                if kept is None or kept.identity.version() <= identity.version():
                    return self._put(self._identities, key, command)
        return _nothing

    def _put(self, kept: OrderedDict[Any, Any], key: Hashable, command: Command) -> Callable[[], None]:
        before = kept.get(key)
        kept[key] = command
        if kept is self._identities and len(kept) > _IDENTITIES:
            kept.popitem(last=False)
        self.fresh = True

        def take_back() -> None:
            if kept.get(key) is not command:
                return  # Redis was told, or there is a newer one
            if before is None:
                del kept[key]
            else:
                kept[key] = before

        return take_back

    def newest(self, commands: Sequence[Command], answers: list[Any]) -> list[Any]:
        """Return the answers, with the identities that are kept in place of older ones that Redis has.

        A server that is full is still read from.

        Args:
            commands: a batch.
            answers: what it ended with.
        """
        return list(map(self._newest_identity, commands, answers)) if self._identities else answers

    def _newest_identity(self, command: Command, answer: Any) -> Any:
        if not isinstance(command, ReadIdentity) or not isinstance(answer, Identity):
            return answer
        kept = self._identities.get((command.room_url, command.participant_id))
        return kept.identity if kept and answer.version() < kept.identity.version() else answer

    def keep_done(self, late: LateDone) -> bool:
        """Keep that a message was handled. Returns whether that is news."""
        key = (late.queue, late.done.token)
        if key in self._dones:
            return False
        self._dones[key] = late
        if len(self._dones) > _DONES:
            self._dones.popitem(last=False)
        self.fresh = True
        return True

    def drop_done(self, late: LateDone) -> bool:
        """Keep a done no longer: Redis was told. Returns whether it was kept."""
        return self._dones.pop((late.queue, late.done.token), None) is not None

    async def run(
        self, execute: Execute, held: Callable[[Queue, Owner], bool]
    ) -> tuple[bool, list[LateDone]]:
        """Tell Redis: first the dones, then the heartbeats, then the identities.

        Args:
            execute: asks Redis.
            held: whether an owner still wants the lease of a queue.

        Returns:
            Whether Redis answered to the end, and the dones that it knows now.
        """
        self.fresh = False
        self._expire()
        told: list[LateDone] = []
        answered = await self._tell_dones(execute, held, told)
        answered = answered and await self._write(execute, self._beats)
        answered = answered and await self._write(execute, self._identities)
        return answered, told

    async def _tell_dones(
        self, execute: Execute, held: Callable[[Queue, Owner], bool], told: list[LateDone]
    ) -> bool:
        waiting = list(self._dones.items())
        for start in range(0, len(waiting), _CHUNK):
            chunk = waiting[start : start + _CHUNK]
            # While Redis was away the lease has run out, or Redis has forgotten it.
            leases = await execute([AcquireLease(late.queue, late.owner) for _, late in chunk])
            ours = [entry for entry, lease in zip(chunk, leases, strict=True) if lease is None]
            answers = await execute([acknowledge(late) for _, late in ours]) if ours else []
            for (key, late), holder in zip(chunk, leases, strict=True):
                if isinstance(holder, Owner):
                    self._dones.pop(key, None)
                    self._log.warning(
                        "admin",
                        f"{late.done.message_id} of {late.queue} was handled: {holder} "
                        "serves the queue now, and may show it again",
                    )
            for (key, late), answer in zip(ours, answers, strict=True):
                if not isinstance(answer, StoreUnavailable):
                    self._dones.pop(key, None)
                    if not isinstance(answer, Exception):
                        told.append(late)
            over = [
                ReleaseLease(late.queue, late.owner.instance)
                for _, late in ours
                if not held(late.queue, late.owner)
            ]
            if over:
                await execute(over)
            if _is_away(leases) or _is_away(answers):
                return False
        return True

    async def _write(self, execute: Execute, kept: OrderedDict[Any, Any]) -> bool:
        waiting = list(kept.items())
        for start in range(0, len(waiting), _CHUNK):
            # Without what a newer one has replaced meanwhile.
            chunk = [each for each in waiting[start : start + _CHUNK] if kept.get(each[0]) is each[1]]
            answers = await execute([command for _, command in chunk])
            for (key, command), answer in zip(chunk, answers, strict=True):
                if isinstance(answer, StoreUnavailable):
                    continue
                if kept.get(key) is command:  # otherwise a newer one came meanwhile
                    del kept[key]
                if isinstance(answer, Exception):
                    self._log.warning("client", f"Redis refused what was kept for it: {answer}")
            if _is_away(answers):
                return False
        return True


def acknowledge(late: LateDone) -> NextMessage:
    """Return the command that tells a store of a message that was handled, and claims none."""
    return NextMessage(late.queue, late.owner.instance, _ATTEMPT, late.done, take=False)


def _nothing() -> None:
    pass


def _is_last(beat: WriteHeartbeat) -> bool:
    return beat.fields.get("status") == b"stopped"


def _is_away(answers: Sequence[Any]) -> bool:
    """Return whether Redis is gone again; one that is merely full goes on reading."""
    return any(
        isinstance(answer, RedisUnavailable) and answer.diagnosis.failure is not None for answer in answers
    )
