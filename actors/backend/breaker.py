"""The circuit breaker before Redis: pure functions, state and now in, state out.

The pattern is Nygard's, its half-open state being called *recovering*: while it lasts, what was kept on
files goes back to Redis.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Literal

import msgspec

SILENCE_S = 1.5  # a healthy server answers in milliseconds; callers must be on files within 3 s
WAITS_S = (1.0, 2.0, 4.0, 8.0, 15.0)  # before the first probe, the second, …; the last one repeats
JITTER = 0.2  # the share of a wait that the draw may take away: bots that lost Redis together come back apart
AGAIN_S = 30.0  # opening again this soon after a good probe goes on with the waits where they were
REFUSALS = 2  # in a row

BreakerState = Literal["closed", "open", "recovering"]


class Failure(Enum):
    """What went wrong with a batch, as the breaker counts it."""

    SILENT = "no byte of a reply came for 1.5 s"
    REFUSED = "the connection was refused or reset before a byte of a reply"
    TRIPPED = "a reply said that this server cannot serve just now"
    DENIED = "a reply said that something must be set right: the password, an ACL, the version"


class Breaker(msgspec.Struct, frozen=True):
    """Whether Redis is used. Times are monotonic seconds, all of the same clock.

    Args:
        state: ``closed``: Redis is used; ``open``: files alone; ``recovering``: a probe passed, and Redis is
            being brought up to date.
        generation: grows with every change of state and every failed probe; a batch that began under another
            one is not counted.
        since: when it entered the state.
        refusals: batches in a row that ended `Failure.REFUSED`, while not open.
        probe_at: when the next probe is due, while open.
        waits: how many of `WAITS_S` have been used up.
        passed_at: when a probe last passed.
    """

    state: BreakerState = "closed"
    generation: int = 0
    since: float = 0.0
    refusals: int = 0
    probe_at: float = math.inf
    waits: int = 0
    passed_at: float = -math.inf

    def probe_is_due(self, now: float) -> bool:
        """Return whether it is open and its wait is over."""
        return self.state == "open" and now >= self.probe_at


def judge(*, timed_out: bool, heard: bool, quiet_s: float) -> Failure | None:
    """Return what a batch that did not get all its replies counts as; None if it was making progress.

    Args:
        timed_out: it ran into a time limit, rather than into a connection error.
        heard: a byte of a reply came.
        quiet_s: how long nothing had come, in seconds.
    """
    if timed_out:
        return Failure.SILENT if quiet_s >= SILENCE_S else None
    return None if heard else Failure.REFUSED


def succeeded(breaker: Breaker, *, generation: int, now: float) -> Breaker:
    """Return the breaker after a batch got all its replies; if it is open, that was the probe.

    Args:
        breaker: the breaker as it is.
        generation: the breaker's when the batch began.
        now: monotonic seconds.
    """
    if generation != breaker.generation:
        return breaker
    if breaker.state == "open":
        return _changed(breaker, state="recovering", since=now, probe_at=math.inf, passed_at=now)
    return msgspec.structs.replace(breaker, refusals=0) if breaker.refusals else breaker


def recovered(breaker: Breaker, *, generation: int, now: float) -> Breaker:
    """Return the breaker after everything that was kept on files is back on Redis.

    Args:
        breaker: the breaker as it is.
        generation: the breaker's when the last batch of the recovery began.
        now: monotonic seconds.
    """
    if generation != breaker.generation or breaker.state != "recovering":
        return breaker
    return _changed(breaker, state="closed", since=now)


def failed(breaker: Breaker, failure: Failure | None, *, generation: int, now: float, draw: float) -> Breaker:
    """Return the breaker after a batch failed; if it is open, that was the probe.

    Args:
        breaker: the breaker as it is.
        failure: what the failure counts as; None for a batch that made progress, which never opens it.
        generation: the breaker's when the batch began.
        now: monotonic seconds.
        draw: a random number from 0 to 1.
    """
    if generation != breaker.generation:
        return breaker
    if breaker.state != "open":
        if failure is None:
            return breaker
        if failure is Failure.REFUSED and breaker.refusals + 1 < REFUSALS:
            return msgspec.structs.replace(breaker, refusals=breaker.refusals + 1)
    return _opened(breaker, failure, now, draw)


def _opened(breaker: Breaker, failure: Failure | None, now: float, draw: float) -> Breaker:
    goes_on = breaker.state == "open" or now - breaker.passed_at < AGAIN_S
    waits = breaker.waits if goes_on else 0
    if failure is Failure.DENIED:
        # It needs a human: asking sooner would only fill logs, and count as wrong passwords.
        wait_s = WAITS_S[-1]
    else:
        wait_s = WAITS_S[min(waits, len(WAITS_S) - 1)]
        waits += 1
    return _changed(
        breaker,
        state="open",
        since=breaker.since if breaker.state == "open" else now,
        refusals=0,
        probe_at=now + wait_s * (1 - JITTER * draw),
        waits=waits,
    )


def _changed(breaker: Breaker, **changes: object) -> Breaker:
    return msgspec.structs.replace(breaker, generation=breaker.generation + 1, **changes)
