"""Lifecycle events: what a supervisor tells of its children. `botvisor.logs` writes them down."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .envelope import Envelope


class Event(msgspec.Struct, frozen=True):
    """The base of all lifecycle events.

    Args:
        child: the child's name.
    """

    child: str


class ChildStarted(Event, frozen=True):
    """A child has started.

    Args:
        generation: 1 at first, one more for each restart.
    """

    generation: int


class ChildFailed(Event, frozen=True):
    """A child has failed and is restarted after a backoff.

    Args:
        error: what it failed with.
        message: the type of the message that it was handling; empty when it was handling none.
        delay_s: the backoff in seconds.
        budget_left: restarts that are still allowed within the period.
    """

    error: BaseException
    message: str
    delay_s: float
    budget_left: int


class ChildExhausted(Event, frozen=True):
    """A child has used up its restarts.

    Args:
        error: what it failed with the last time.
        parked: it rests and is probed later; otherwise its owner is told to stop.
        probe_s: seconds until the probe; 0 when it is not parked.
    """

    error: BaseException
    parked: bool
    probe_s: float


class ChildStopped(Event, frozen=True):
    """A child was told to stop, and has stopped.

    Args:
        reason: why.
        error: what its clean-up failed with.
    """

    reason: str
    error: BaseException | None = None


class ChildStuck(Event, frozen=True):
    """A child did not stop, although it was cancelled.

    Args:
        waited_s: how long it was given after the cancel.
        stack: where it hangs; no local variables.
    """

    waited_s: float
    stack: str


class DeadLetters(Event, frozen=True):
    """Messages that nobody will handle.

    Args:
        count: how many.
        types: their types.
    """

    count: int
    types: tuple[str, ...]


def dead_letters(child: str, letters: Sequence[Envelope]) -> DeadLetters:
    """Return the event that tells of these dead letters."""
    return DeadLetters(child, len(letters), tuple(sorted({type(e.message).__name__ for e in letters})))


Emit = Callable[[Event], None]
