"""The restart policy: pure functions, history and now in, decision out.

The model is Erlang/OTP's: restart types, and at most `intensity` restarts in `period` seconds.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RestartType = Literal["permanent", "transient", "temporary"]

_DOUBLINGS = 64  # of a backoff; far more than lie between any base and cap


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """When and how fast a child is restarted. All durations are in seconds.

    Args:
        restart: ``permanent``: always; ``transient``: after a failure; ``temporary``: never. None is the
            child's own default: permanent for an actor, temporary for `main`.
        intensity: how many restarts are allowed within `period`; one more exhausts the budget.
        period: the length of the sliding window.
        base: the first backoff; it doubles with each failure in a row.
        cap: no backoff is longer.
        jitter: the share of a backoff that is drawn at random, from 0 to 1; it only shortens.
        healthy_after: uptime after which failures count as in a row no more.
        on_exhausted: ``park``: the actor rests, is shown as degraded, and is probed again; ``stop``: the bot
            is stopped.
        probe_after: how long a parked actor rests before it is tried again.
        start_timeout: the limit of a start.
        stop_timeout: the limit of an orderly stop; then the child is cancelled.

    Raises:
        ValueError: when a value is out of range, or the limit could never be reached.
    """

    restart: RestartType | None = None
    intensity: int = 5
    period: float = 60.0
    base: float = 0.1
    cap: float = 10.0
    jitter: float = 0.2
    healthy_after: float = 30.0
    on_exhausted: Literal["park", "stop"] = "park"
    probe_after: float = 60.0
    start_timeout: float = 10.0
    stop_timeout: float = 5.0

    def __post_init__(self) -> None:
        if self.restart not in (None, "permanent", "transient", "temporary"):
            raise ValueError(f"restart is permanent, transient or temporary, not {self.restart!r}")
        if self.on_exhausted not in ("park", "stop"):
            raise ValueError(f"on_exhausted is park or stop, not {self.on_exhausted!r}")
        if self.intensity < 0:
            raise ValueError(f"intensity is at least 0, not {self.intensity}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is from 0 to 1, not {self.jitter}")
        for name in ("period", "base", "cap", "probe_after", "start_timeout", "stop_timeout"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a positive number of seconds, not {getattr(self, name)}")
        if not self.healthy_after >= 0:
            raise ValueError(f"healthy_after is at least 0 seconds, not {self.healthy_after}")
        fastest = self._fastest_window()
        if fastest >= self.period:
            raise ValueError(
                f"{self.intensity} restarts take at least {fastest:.3g} s with these backoffs, so they never "
                f"fall within {self.period:g} s: lower base or cap, or raise period"
            )

    def ceiling(self, streak: int) -> float:
        """Return the longest backoff after `streak` failures in a row before this one, in seconds."""
        return min(self.cap, self.base * 2.0 ** min(streak, _DOUBLINGS))

    def _fastest_window(self) -> float:
        # The window opens with the first restart: a child that crashes at once spends the later backoffs.
        later = self.intensity - 1
        if self.healthy_after == 0:  # then no two failures are ever in a row
            return max(0, later) * self.ceiling(0) * (1 - self.jitter)
        growing = sum(self.ceiling(streak) for streak in range(1, min(later, _DOUBLINGS) + 1))
        return (growing + max(0, later - _DOUBLINGS) * self.ceiling(_DOUBLINGS)) * (1 - self.jitter)


class History(msgspec.Struct, frozen=True):
    """What a decision needs to know of a child's past. Times are monotonic seconds.

    Args:
        restarts: when it was restarted, within the last period.
        streak: failures in a row.
        running_since: when its start was acknowledged; None while it never was.
    """

    restarts: tuple[float, ...] = ()
    streak: int = 0
    running_since: float | None = None


class Restart(msgspec.Struct, frozen=True):
    """Restart after a backoff.

    Args:
        delay_s: the backoff.
        history: the new history.
        budget_left: restarts still allowed within the period.
    """

    delay_s: float
    history: History
    budget_left: int


class Exhausted(msgspec.Struct, frozen=True):
    """The budget is used up: park or stop, as the policy says."""

    history: History


class Finished(msgspec.Struct, frozen=True):
    """The child has ended for good, and may."""


Decision = Restart | Exhausted | Finished


def decide(
    policy: Policy, kind: RestartType, history: History, *, failed: bool, now: float, draw: float
) -> Decision:
    """Decide what to do about an exit that nobody asked for.

    Args:
        policy: the child's policy.
        kind: its restart type.
        history: its past.
        failed: whether it failed, rather than returned.
        now: monotonic seconds.
        draw: a random number from 0 to 1.

    Returns:
        `Restart`, `Exhausted` or `Finished`.
    """
    if kind == "temporary" or (kind == "transient" and not failed):
        return Finished()
    up = 0.0 if history.running_since is None else now - history.running_since
    streak = 0 if history.running_since is not None and up >= policy.healthy_after else history.streak
    recent = tuple(at for at in history.restarts if at > now - policy.period)
    if len(recent) >= policy.intensity:
        return Exhausted(History(recent, streak))
    delay_s = policy.ceiling(streak) * (1 - policy.jitter * draw)
    restarted = History((*recent, now + delay_s), streak + 1)
    return Restart(delay_s, restarted, policy.intensity - len(recent) - 1)


def running(history: History, now: float) -> History:
    """Return the history of a child whose start was acknowledged just now."""
    return History(history.restarts, history.streak, now)
