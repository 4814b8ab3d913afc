"""Forwarding: rounds in which Redis gets what lies in the spool for bots elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import anyio
import msgspec

from botvisor.errors import MalformedMessage, StoreUnavailable
from botvisor.logs import Log
from botvisor.messages import mark_resent
from botvisor.store import Command, IsKept, ReadReceipt

from .circuit import Circuit
from .merging import furthest
from .parcels import Parcel
from .redis_errors import RedisUnavailable
from .redis_queues import keys_of
from .spool_access import SpoolAccess
from .spool_forwarder import SpoolForwarder

BUDGET_S = 2.0  # of a round; the rest follows in the next one

_PUSHED = 200
_LOOKED_AT = 100
_LOOKS = 5  # in a round
_LONG = 1_000  # of a queue: no receipt tells of what is further from its end
_NAMED = 5  # of those sent again, in the log


class Forwarding:
    """Forwards the spool, and looks after what was forwarded.

    Args:
        forwarder: the files.
        circuit: Redis.
        access: how the files are reached.
        log: where it says what it does.
    """

    def __init__(self, forwarder: SpoolForwarder, circuit: Circuit, access: SpoolAccess, log: Log) -> None:
        self._files = forwarder
        self._circuit = circuit
        self._access = access
        self._log = log

    async def run(self) -> bool:
        """Do one round, unless another process of this host is at it.

        Returns:
            Whether Redis answered to the end.
        """
        if not await self._access.run(self._files.begin):
            return True
        try:
            return await self._push() and await self._look()
        finally:
            with anyio.CancelScope(shield=True):
                await self._access.run(self._files.close)

    async def _push(self) -> bool:
        began = time.monotonic()
        while time.monotonic() - began < BUDGET_S:
            parcels = await self._access.run(partial(self._files.take, _PUSHED))
            if not parcels:
                break
            answers: list[Any] = [StoreUnavailable("cancelled") for _ in parcels]
            try:
                answers = await self._circuit.attempt([parcel.command for parcel in parcels])
            finally:
                with anyio.CancelScope(shield=True):
                    await self._settle(parcels, answers)
            if any(map(_is_away, answers)):
                return not any(map(_has_left, answers))
        return True

    async def _settle(self, parcels: Sequence[Parcel], answers: Sequence[Any]) -> None:
        pairs = list(zip(parcels, answers, strict=True))
        errors = [parcel for parcel, answer in pairs if isinstance(answer, Exception)]
        failed = [parcel for parcel, answer in pairs if _is_away(answer)]
        refused = [parcel for parcel in errors if parcel not in failed]
        if failed:
            await self._access.run(partial(self._files.put_back, failed))
        if refused:
            await self._access.run(partial(self._files.put_back, refused, refused=True))
        if len(errors) < len(pairs):
            self._log.info("admin", f"Forwarded {len(pairs) - len(errors)} messages from the spool to Redis")

    async def _look(self) -> bool:
        for _ in range(_LOOKS):
            parcels = await self._access.run(partial(self._files.kept.take, _LOOKED_AT))
            if not parcels:
                break
            looks: list[Command] = []
            for parcel in parcels:
                looks += [ReadReceipt(queue, parcel.known_by) for queue in parcel.queues]
                looks += [IsKept(queue, parcel.known_by) for queue in parcel.queues]
            answers = await self._circuit.attempt(looks)
            if any(map(_is_away, answers)):
                return not any(map(_has_left, answers))
            await self._judge(parcels, answers)
        return True

    async def _judge(self, parcels: Sequence[Parcel], answers: Sequence[Any]) -> None:
        ended: list[Parcel] = []
        held: list[Parcel] = []
        missed: list[Parcel] = []
        replies = iter(answers)
        for parcel in parcels:
            states = [next(replies) for _ in parcel.queues]
            marks = [next(replies) for _ in parcel.queues]
            if any(isinstance(each, Exception) for each in (*states, *marks)):
                held.append(parcel)
            elif (state := furthest(states)) in ("handled", "dead"):
                ended.append(parcel)
            elif state != "unknown":
                held.append(parcel)
            elif not any(marks):
                missed.append(parcel)
            else:
                # Whoever took it left no receipt: an older bot, or an operator who dropped it.
                (ended if await self._is_gone(parcel) else held).append(parcel)
        await self._access.run(partial(self._files.kept.settle, ended, held, missed))
        lost = [parcel for parcel in missed if self._files.kept.is_lost(parcel)]
        if lost:
            await self._send_again(lost)

    async def _is_gone(self, parcel: Parcel) -> bool:
        """Return whether a message is not even in a queue too long for a receipt to see it."""
        try:
            lengths = await self._circuit.look([(b"LLEN", keys_of(queue).queue) for queue in parcel.queues])
        except StoreUnavailable:
            return False
        return all(isinstance(length, int) and length < _LONG for length in lengths)

    async def _send_again(self, parcels: Sequence[Parcel]) -> None:
        commands: list[Command] = []
        for parcel in parcels:
            raw = parcel.command.raw
            with contextlib.suppress(MalformedMessage):  # it has no room for the mark
                raw = mark_resent(raw)
            commands.append(msgspec.structs.replace(parcel.command, raw=raw))
        answers = await self._circuit.attempt(commands)
        sent = [p for p, answer in zip(parcels, answers, strict=True) if not isinstance(answer, Exception)]
        if sent:
            await self._access.run(partial(self._files.kept.settle, [], sent, []))
            ids = ", ".join(parcel.known_by for parcel in sent[:_NAMED])
            more = f" and {len(sent) - _NAMED} more" if len(sent) > _NAMED else ""
            self._log.warning("admin", f"Sent again from the spool what Redis had lost: {ids}{more}")


def _is_away(answer: Any) -> bool:
    return isinstance(answer, StoreUnavailable)


def _has_left(answer: Any) -> bool:
    return isinstance(answer, RedisUnavailable) and answer.diagnosis.failure is not None
