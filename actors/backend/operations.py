"""What a backend was asked for, how often that failed, and how long its batches took."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

from botvisor.store import Command

_BATCHES = 1_000
_SORT_AGAIN_S = 1.0  # all bots of a process beat in one moment


class Operations:
    """Counts the operations of one backend.

    Attributes:
        retries: how many commands were tried again.
        fallbacks: how many commands were carried out by another backend in this one's place.
    """

    def __init__(self) -> None:
        self.retries = 0
        self.fallbacks = 0
        self._batches = 0
        self._counts: Counter[tuple[type[Any], type[Any]]] = Counter()
        self._times_s: deque[float] = deque(maxlen=_BATCHES)
        self._sorted_at = -_SORT_AGAIN_S
        self._quantiles_ms = (0.0, 0.0)

    def add(self, commands: Sequence[Command], answers: Sequence[Any], took_s: float) -> None:
        """Count a batch.

        Args:
            commands: the batch.
            answers: an answer for each; an exception is an error.
            took_s: how long it took, in seconds.
        """
        # One pass, in C: every operation of a bot comes through here.
        self._counts.update(zip(map(type, commands), map(type, answers), strict=True))
        self._batches += 1
        self._times_s.append(took_s)

    def figures(self) -> dict[str, Any]:
        """Return the figures for a heartbeat's health.

        Returns:
            ``operations`` and ``errors``: numbers by the names of commands; ``batches``, ``retries`` and
            ``fallbacks``: numbers; all since the start. ``p50_ms`` and ``p99_ms``: of the last thousand
            batches, 0 before the first one.
        """
        operations: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for (command, answer), count in self._counts.items():
            operations[command.__name__] += count
            if issubclass(answer, BaseException):
                errors[command.__name__] += count
        p50_ms, p99_ms = self._quantiles()
        return {
            "operations": dict(operations),
            "errors": dict(errors),
            "batches": self._batches,
            "p50_ms": p50_ms,
            "p99_ms": p99_ms,
            "retries": self.retries,
            "fallbacks": self.fallbacks,
        }

    def _quantiles(self) -> tuple[float, float]:
        now = time.monotonic()
        if self._times_s and now - self._sorted_at >= _SORT_AGAIN_S:
            self._sorted_at = now
            times = sorted(self._times_s)
            p50_s, p99_s = times[len(times) // 2], times[len(times) * 99 // 100]
            self._quantiles_ms = round(p50_s * 1000, 3), round(p99_s * 1000, 3)
        return self._quantiles_ms
