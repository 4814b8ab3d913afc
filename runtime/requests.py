"""The requests that a supervisor's loop carries out: a small closed set."""

from __future__ import annotations

import msgspec

from .child import Record


class Request(msgspec.Struct, frozen=True):
    """The base of all requests.

    Args:
        record: the child that it is about.
    """

    record: Record


class Start(Request, frozen=True):
    """Start a child for the first time."""


class Restart(Request, frozen=True):
    """Restart a child because an operator wants it."""


class Stop(Request, frozen=True):
    """Stop a child.

    Args:
        reason: why.
        within_s: how long it has to end by itself.
        cancel_grace_s: how long it has after a gentle cancel.
    """

    reason: str
    within_s: float
    cancel_grace_s: float


class FromIncarnation(Request, frozen=True):
    """The base of what is about one incarnation: it means nothing once there is another.

    Args:
        generation: which incarnation.
    """

    generation: int


class Started(FromIncarnation, frozen=True):
    """An incarnation has started."""


class Exited(FromIncarnation, frozen=True):
    """An incarnation has ended.

    Args:
        error: what it failed with; None when it returned or was cancelled by its supervisor.
    """

    error: BaseException | None


class Due(FromIncarnation, frozen=True):
    """The backoff, or the rest of a parked child, is over."""


class Overdue(FromIncarnation, frozen=True):
    """An incarnation has not ended in time."""


class Shutdown(msgspec.Struct, frozen=True):
    """End the loop: every child has ended."""
