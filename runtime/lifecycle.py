"""What happens to a child: the one place that changes the state of a record."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from . import requests, tasks
from .child import Record, State
from .envelope import Envelope
from .errors import StartTimeout
from .events import (
    ChildExhausted,
    ChildFailed,
    ChildStarted,
    ChildStopped,
    ChildStuck,
    Emit,
    Event,
    dead_letters,
)
from .ledger import Ledger
from .restart import Exhausted, Finished, History, Restart, decide, running
from .timers import Timers

STUCK_AFTER_S = 5.0  # how long a cancelled child may take, before it is reported with its stack


class Lifecycle:
    """Carries out requests, one after the other; only the supervisor's loop may call it.

    Args:
        timers: the supervisor's.
        ledger: where exits are written down.
        emit: told of every lifecycle event.
        post: sends a request to the supervisor's loop.
        begin: begins the task of a new incarnation, of the record's generation.
        seed: of the jitter; None draws one.
    """

    def __init__(
        self,
        timers: Timers,
        ledger: Ledger,
        emit: Emit,
        post: Callable[[requests.Request], None],
        begin: Callable[[Record], None],
        seed: int | None,
    ) -> None:
        self.records: dict[str, Record] = {}
        self.stuck: set[str] = set()
        self._timers = timers
        self._ledger = ledger
        self._emit = emit
        self._post = post
        self._begin = begin
        self._random = random.Random(seed)  # noqa: S311 - jitter is no secret

    def carry_out(self, request: requests.Request) -> None:
        """Do what is requested, unless it is about an incarnation that is gone."""
        record = request.record
        if isinstance(request, requests.Exited):
            self.stuck.discard(record.name)
        if (
            record.state is State.ENDED
            or getattr(request, "generation", record.generation) != record.generation
        ):
            return
        match request:
            case requests.Start() | requests.Due():
                self._spawn(record)
            case requests.Started():
                self._has_started(record)
            case requests.Exited():
                self._has_exited(record, request.error)
            case requests.Restart():
                self._restart_now(record)
            case requests.Stop():
                self._begin_stop(record, request)
            case requests.Overdue():
                self._overdue(record)

    def _spawn(self, record: Record) -> None:
        record.generation += 1
        record.state = State.STARTING
        record.scope = anyio.CancelScope()
        record.child.handling = ""
        self._begin(record)
        self._watch(record, record.policy.start_timeout + STUCK_AFTER_S)  # for one that cannot bound itself

    def _has_started(self, record: Record) -> None:
        record.history = running(record.history, anyio.current_time())
        record.ever_ran = True
        record.first_start.set()
        if record.state is State.STARTING:
            record.state = State.RUNNING
            record.deadline = math.inf
            self._tell(ChildStarted(record.name, record.generation))

    def _has_exited(self, record: Record, error: BaseException | None) -> None:
        record.deadline = math.inf
        if record.state is State.STOPPING:
            if error is not None:
                self._ledger.write_down(record.name, error, record.child.handling, None, 0)
            self._tell(ChildStopped(record.name, record.stop_reason, error))
            self.end(record, error)
        elif record.restarting:
            record.restarting = False
            self._spawn(record)
        else:
            if error is None and record.state is State.STARTING:
                late = record.scope.cancel_called
                limit_s = record.policy.start_timeout
                error = StartTimeout(record.name, limit_s) if late else RuntimeError("returned in its start")
            record.error = error
            if record.ever_ran:
                self._decide(record, error)
            else:
                self.end(record, error)

    def _decide(self, record: Record, error: BaseException | None) -> None:
        now = anyio.current_time()
        failed = error is not None or record.kind == "permanent"
        decision = decide(
            record.policy, record.kind, record.history, failed=failed, now=now, draw=self._random.random()
        )
        cause = error if error is not None else RuntimeError("returned without being told to stop")
        match decision:
            case Finished():
                if error is not None:
                    self._ledger.write_down(record.name, cause, record.child.handling, None, 0)
                self.end(record, error)
            case Restart(delay_s, history, budget_left):
                self._ledger.write_down(record.name, cause, record.child.handling, delay_s, budget_left)
                record.history = _not_running(history)
                record.state = State.BACKING_OFF
                self._due(record, now + delay_s)
                self._tell(ChildFailed(record.name, cause, record.child.handling, delay_s, budget_left))
            case Exhausted(history):
                self._ledger.write_down(record.name, cause, record.child.handling, None, 0)
                record.history = _not_running(history)
                self._exhaust(record, cause, now)

    def _exhaust(self, record: Record, cause: BaseException, now: float) -> None:
        parked = record.child.parks and record.policy.on_exhausted == "park"
        self._tell(ChildExhausted(record.name, cause, parked, record.policy.probe_after if parked else 0.0))
        if not parked:
            record.exhausted = True
            self.end(record, cause)
            return
        record.state = State.PARKED
        self._bury(record, record.child.rest())
        self._due(record, now + record.policy.probe_after)

    def _restart_now(self, record: Record) -> None:
        if record.state in (State.BACKING_OFF, State.PARKED):
            self._spawn(record)
        elif record.state in (State.STARTING, State.RUNNING) and record.ever_ran and not record.restarting:
            record.restarting = True
            self._cancel(record)

    def _begin_stop(self, record: Record, request: requests.Stop) -> None:
        patient = not (record.scope.cancel_called or record.nudged)
        if record.state is State.STOPPING:
            if patient and anyio.current_time() + request.within_s < record.deadline:
                self._watch(record, request.within_s)
            return
        before, record.state = record.state, State.STOPPING
        record.stop_reason = request.reason
        record.cancel_grace_s = request.cancel_grace_s
        record.child.request_stop(request.reason)
        if before in (State.BACKING_OFF, State.PARKED):
            self._tell(ChildStopped(record.name, record.stop_reason))
            self.end(record, record.error)
        elif before is State.RUNNING and patient:
            self._watch(record, request.within_s)
        else:
            self._cancel(record)

    def _overdue(self, record: Record) -> None:
        if anyio.current_time() < record.deadline:
            return  # it was given more time since
        if record.scope.cancel_called:
            self.stuck.add(record.name)
            self._tell(ChildStuck(record.name, STUCK_AFTER_S, tasks.stack(record.task)))
            if record.state is State.STOPPING:
                self.end(record, TimeoutError(f"{record.name} did not stop"))
            elif not record.ever_ran:
                self.end(record, StartTimeout(record.name, record.policy.start_timeout))
        elif record.state is State.STOPPING and self._nudge(record):
            self._watch(record, record.cancel_grace_s)
        else:
            self._cancel(record)

    def _nudge(self, record: Record) -> bool:
        if not record.nudged and record.cancel_grace_s > 0:
            record.nudged = record.child.nudge()
            return record.nudged
        return False

    def _cancel(self, record: Record) -> None:
        record.scope.cancel()
        self._watch(record, STUCK_AFTER_S)

    def _watch(self, record: Record, limit_s: float) -> None:
        record.deadline = anyio.current_time() + limit_s
        overdue = requests.Overdue(record, record.generation)
        self._timers.expire_at(record.deadline, _Alarm(record.deadline, overdue, self._post))

    def _due(self, record: Record, at: float) -> None:
        self._timers.expire_at(at, _Alarm(at, requests.Due(record, record.generation), self._post))

    def end(self, record: Record, error: BaseException | None) -> None:
        """End a child for good, whatever its task does."""
        record.state = State.ENDED
        record.error = error
        self.records.pop(record.name, None)
        self._bury(record, record.child.dispose())
        record.first_start.set()
        record.ended.set()
        if record.on_end is not None:
            self._call_out(record.name, record.on_end, record)

    def _bury(self, record: Record, letters: Sequence[Envelope]) -> None:
        # What an actor told itself, such as the next tick, nobody misses.
        missed = [letter for letter in letters if not letter.generation]
        if missed:
            self._tell(dead_letters(record.name, missed))

    def _tell(self, event: Event) -> None:
        self._call_out(event.child, self._emit, event)

    def _call_out(self, child: str, call: Callable[[Any], object], argument: Any) -> None:
        try:
            call(argument)
        except Exception as error:  # a failing log or callback must not end what it is told about
            self._ledger.write_down(child, error, "", None, 0)


class _Alarm:
    """Posts a request about an incarnation at a time, unless nobody needs it any more.

    Without that, the timers would hold on to each child that ended for as long as a start may take.
    """

    __slots__ = ("_at", "_post", "_request")

    def __init__(
        self,
        at: float,
        request: requests.Due | requests.Overdue,
        post: Callable[[requests.Request], None],
    ) -> None:
        self._at = at
        self._request = request
        self._post = post

    @property
    def ended(self) -> bool:
        record = self._request.record
        if record.state is State.ENDED or record.generation != self._request.generation:
            return True
        return isinstance(self._request, requests.Overdue) and record.deadline > self._at

    def expire(self) -> None:
        self._post(self._request)


def _not_running(history: History) -> History:
    return History(history.restarts, history.streak, None)
