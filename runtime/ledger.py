"""The ledger: the last exits of every actor, for the operator who asks why."""

from __future__ import annotations

import hashlib
import traceback
from collections import Counter, deque
from datetime import UTC, datetime

import msgspec

from .errors import describe

_TEXT_LIMIT = 200


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One exit.

    Args:
        at: when, ISO 8601 in UTC.
        actor: the actor's name.
        error: the exception in one line, at most 200 characters.
        trace: a hash of where it was raised: equal for equal causes.
        message: the type of the message that was being handled; empty when none was.
        backoff_s: how long until the restart; None when it is not restarted.
        budget_left: restarts that were still allowed within the period.
    """

    at: str
    actor: str
    error: str
    trace: str
    message: str = ""
    backoff_s: float | None = None
    budget_left: int = 0


class Ledger:
    """The last exits, oldest first.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int = 16) -> None:
        self._entries: deque[Entry] = deque(maxlen=limit)
        self._restarts: Counter[str] = Counter()

    def write_down(
        self, actor: str, error: BaseException, message: str, backoff_s: float | None, budget_left: int
    ) -> None:
        """Add an exit that happens now; the parameters are the fields of `Entry`."""
        self._entries.append(
            Entry(
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                actor=actor,
                error=describe(error)[:_TEXT_LIMIT],
                trace=trace_hash(error),
                message=message,
                backoff_s=backoff_s,
                budget_left=budget_left,
            )
        )
        if backoff_s is not None:
            self._restarts[actor] += 1

    def restarts(self, prefix: str = "") -> int:
        """Return how often the actors whose name begins with `prefix` were restarted after a failure."""
        return sum(count for actor, count in self._restarts.items() if actor.startswith(prefix))

    def entries(self, prefix: str = "") -> list[Entry]:
        """Return the exits of the actors whose name begins with `prefix`."""
        return [entry for entry in self._entries if entry.actor.startswith(prefix)]


def trace_hash(error: BaseException) -> str:
    """Return 8 hexadecimal digits that tell where an error was raised: its type, and each file and line."""
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    return hashlib.sha256("\n".join([type(error).__name__, *places]).encode()).hexdigest()[:8]
