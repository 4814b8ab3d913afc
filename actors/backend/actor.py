"""The backend actor: all store I/O of a process, in batches."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from botvisor.actor import BatchActor, Context
from botvisor.logs import Log
from botvisor.store import Command, Store, Sweep

SWEEP_EVERY_S = 3600.0


class SweepNow(msgspec.Struct, frozen=True):
    """Delete what has expired: an hour has passed."""


class BackendActor(BatchActor):
    """One incarnation of the backend. What waits while two batches are in flight is the next one.

    Args:
        store: carries the batches out.
        log: where it says what it does.
    """

    # So that of many callers some compose their commands while the store carries out those of the others, and
    # that it never waits for us.
    in_flight = 2
    batch_least = 50
    batch_limit = 200

    def __init__(self, store: Store, log: Log) -> None:
        self._store = store
        self._log = log

    async def start(self, ctx: Context) -> None:
        """Delete what earlier runs left."""
        self._ctx = ctx
        ctx.tell(SweepNow())

    async def handle_batch(self, messages: Sequence[Any]) -> list[Any]:
        """Carry out a batch of commands; what is none is answered with an error of its own."""
        # Looked at by kinds: a batch has many commands of few.
        if all(issubclass(kind, Command) for kind in set(map(type, messages))):
            return await self._carry_out(messages)
        asked = [self._sweep() if isinstance(message, SweepNow) else message for message in messages]
        results = iter(await self._carry_out([each for each in asked if isinstance(each, Command)]))
        strange = "{} is no command of a store".format
        answers = [
            next(results) if isinstance(each, Command) else TypeError(strange(type(each).__name__))
            for each in asked
        ]
        for each, answer in zip(asked, answers, strict=True):
            if isinstance(each, Sweep):
                self._told_sweep(answer)
        return answers

    def _sweep(self) -> Sweep:
        self._ctx.tell_after(SWEEP_EVERY_S, SweepNow())
        return Sweep()

    async def _carry_out(self, commands: Sequence[Command]) -> list[Any]:
        began = time.perf_counter()
        results = await self._store.execute(commands)
        if self._log.times:
            took_ms = (time.perf_counter() - began) * 1000
            self._log.timing("client", f"{len(commands)} commands took {took_ms:.2f} ms")
        return results

    def _told_sweep(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._log.warning("client", f"Could not delete what has expired: {result}")
        elif result:
            self._log.info("client", f"Deleted {result} expired files")
