"""Retry: tries again what failed for want of a store, within one deadline for the batch."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import anyio

from botvisor.errors import StoreUnavailable
from botvisor.logs import Log
from botvisor.store import Command, Store

from .operations import Operations

ATTEMPTS = 3
DEADLINE_S = 2.0
BACKOFF_MIN_S = 0.05
BACKOFF_MAX_S = 0.5


def trying_again(count: int, error: Exception) -> str:
    """Say that so many commands are tried again, and what the first of them ended with."""
    return f"Trying {count} command{'' if count == 1 else 's'} again: {error}"


class RetryingStore:
    """A store round another one. Every command can be repeated without harm, so repeating is safe.

    Args:
        store: the other one.
        log: where it says what it does.
        seed: of the jitter; None draws one.

    Attributes:
        operations: what the other one was asked for, and how that went.
    """

    def __init__(self, store: Store, log: Log, *, seed: int | None = None) -> None:
        self.operations = Operations()
        self._store = store
        self._log = log
        self._random = random.Random(seed)  # noqa: S311 - jitter is no secret
        self._failing: set[type[Command]] = set()  # kinds that failed when they were carried out last

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch, trying up to three times, within two seconds."""
        # An error of its own for each: whoever raises one writes his traceback into it.
        results: list[Any] = [StoreUnavailable(f"no answer within {DEADLINE_S:g} s") for _ in commands]
        with anyio.move_on_after(DEADLINE_S):
            pending = list(range(len(commands)))
            for attempt in range(ATTEMPTS):
                batch, began = [commands[place] for place in pending], time.perf_counter()
                answers = [results[place] for place in pending]
                try:
                    answers = await self._store.execute(batch)
                finally:
                    self.operations.add(batch, answers, time.perf_counter() - began)
                for place, answer in zip(pending, answers, strict=True):
                    results[place] = answer
                pending = [place for place in pending if isinstance(results[place], StoreUnavailable)]
                if not pending or attempt == ATTEMPTS - 1:
                    break
                known = {type(commands[place]) for place in pending} <= self._failing
                tell = self._log.debug if known else self._log.warning
                tell("client", trying_again(len(pending), results[pending[0]]))
                self.operations.retries += len(pending)
                await anyio.sleep(self._backoff_s(attempt))
        self._note(commands, results)
        return results

    def _note(self, commands: Sequence[Command], results: Sequence[Any]) -> None:
        failed_before = bool(self._failing)
        for command, result in zip(commands, results, strict=True):
            if isinstance(result, StoreUnavailable):
                self._failing.add(type(command))
            else:
                self._failing.discard(type(command))
        if failed_before and not self._failing:
            self._log.info("client", "The store answers again")

    def _backoff_s(self, attempt: int) -> float:
        # Full jitter: callers that failed together must not come back together.
        return self._random.uniform(BACKOFF_MIN_S, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 4.0 ** (attempt + 1)))
