"""The supervisor: starts children, restarts those that fail, and stops them in order.

Only its one loop changes its state. Runners of children never raise: they post what happened to its control
stream, where what comes from an incarnation that is gone is ignored.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from anyio.abc import TaskGroup, TaskStatus

from . import requests, tasks
from .child import Child, Record, State
from .envelope import Envelope
from .errors import StartFailed, StrayCancellation, SupervisorStopped, collapse
from .events import ChildExhausted, ChildFailed, ChildStarted, ChildStopped, ChildStuck, Emit, dead_letters
from .ledger import Ledger
from .restart import Exhausted, Finished, History, Policy, Restart, decide, running
from .timers import Timers

STUCK_AFTER_S = 5.0  # how long a cancelled child may take, before it is reported with its stack


class Supervisor:
    """Owns its children's tasks.

    Args:
        emit: told of every lifecycle event.
        seed: of the jitter; None draws one.
    """

    def __init__(self, emit: Emit = lambda _: None, *, seed: int | None = None) -> None:
        self.timers = Timers()
        self.ledger = Ledger()
        self.ended = anyio.Event()
        self._emit = emit
        self._random = random.Random(seed)  # noqa: S311 - jitter is no secret
        self._records: dict[str, Record] = {}
        self._requests, self._control = anyio.create_memory_object_stream[Any](math.inf)
        self._group: TaskGroup
        self._closing = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Supervise until `shutdown`. A cancellation from outside does not reach the children: shut down first."""
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as self._group:
                    self._group.start_soon(self.timers.run, name="botvisor timers")
                    task_status.started()
                    async for request in self._control:
                        if isinstance(request, requests.Shutdown):
                            break
                        self._carry_out(request)
                    self._group.cancel_scope.cancel()
        finally:
            self._closing = True
            self._requests.close()
            self._control.close()
            for record in list(self._records.values()):
                self._end(record, record.error)
            self.ended.set()

    async def start(
        self, child: Child, policy: Policy, on_end: Callable[[Record], None] | None = None
    ) -> Record:
        """Start a child and wait until it says that it has started.

        Args:
            child: the child; its name must be free.
            policy: when it is restarted.
            on_end: called once it has ended for good.

        Returns:
            Its record.

        Raises:
            StartFailed: when its first start failed or took too long.
            SupervisorStopped: when the supervisor is stopping.
            ValueError: when a child of that name runs already.
        """
        if self._closing:
            raise SupervisorStopped
        if child.name in self._records:
            raise ValueError(f"a child named {child.name!r} runs already")
        record = self._records[child.name] = Record(child, policy, on_end)
        self._requests.send_nowait(requests.Start(record))
        await record.first_start.wait()
        if not record.ever_ran:
            if record.error is None:
                raise SupervisorStopped
            raise StartFailed(child.name, record.error) from record.error
        return record

    async def stop(
        self, name: str, reason: str, *, within_s: float | None = None, cancel_grace_s: float = 0.0
    ) -> None:
        """Stop a child in order, and wait until it has ended or is reported as stuck.

        Args:
            name: the child's name; one that has ended already is fine.
            reason: why.
            within_s: how long it has to end by itself; None is its policy's `stop_timeout`.
            cancel_grace_s: how long it has after a gentle cancel, where it knows one, before its scope's cancel.
        """
        record = self._records.get(name)
        if record is None:
            return
        within_s = record.policy.stop_timeout if within_s is None else within_s
        self._post(requests.Stop(record, reason, within_s, cancel_grace_s))
        await record.ended.wait()

    def restart(self, name: str) -> bool:
        """Restart a child on an operator's wish: its budget is not charged.

        Returns:
            Whether there is such a child, and it is one that can be restarted.
        """
        record = self._records.get(name)
        if record is None or not record.child.parks:
            return False
        self._post(requests.Restart(record))
        return True

    def state(self, name: str) -> State:
        """Return where a child stands; `State.ENDED` when there is none of that name."""
        record = self._records.get(name)
        return record.state if record is not None else State.ENDED

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the children that have not ended, in the order of their start."""
        return [name for name in self._records if name.startswith(prefix)]

    async def shutdown(self, reason: str) -> None:
        """Stop all children, the last started first, and end `run`. Bounded by their stop time-outs."""
        self._closing = True
        for name in reversed(self.names()):
            await self.stop(name, reason)
        self._post(requests.Shutdown())
        await self.ended.wait()

    def _post(self, request: Any) -> None:
        # Once the supervisor has ended, so has everything that this could be about.
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._requests.send_nowait(request)

    def _carry_out(self, request: Any) -> None:
        record: Record = request.record
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
        self._group.start_soon(self._incarnation, record, record.generation, record.scope, name=record.name)

    async def _incarnation(self, record: Record, generation: int, scope: anyio.CancelScope) -> None:
        error: BaseException | None = None
        try:
            with scope:
                record.task = tasks.current()
                await record.child.run(lambda: self._post(requests.Started(record, generation)))
        except anyio.get_cancelled_exc_class():
            if tasks.cancelled_from_outside():
                raise
            error = StrayCancellation()
        except BaseException as raised:  # whatever it is, it is this child's failure alone
            error = collapse(raised)
        self._post(requests.Exited(record, generation, error))

    def _has_started(self, record: Record) -> None:
        record.history = running(record.history, anyio.current_time())
        record.ever_ran = True
        record.first_start.set()
        if record.state is State.STARTING:
            record.state = State.RUNNING
            self._emit(ChildStarted(record.name, record.generation))

    def _has_exited(self, record: Record, error: BaseException | None) -> None:
        record.error = error
        if record.state is State.STOPPING:
            self._emit(ChildStopped(record.name, record.stop_reason))
            self._end(record, error)
        elif not record.ever_ran:
            self._end(record, error)
        elif record.restarting:
            record.restarting = False
            self._spawn(record)
        else:
            self._decide(record, error)

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
                    self.ledger.write_down(record.name, cause, record.child.handling, None, 0)
                self._end(record, error)
            case Restart(delay_s, history, budget_left):
                self.ledger.write_down(record.name, cause, record.child.handling, delay_s, budget_left)
                record.history = _not_running(history)
                record.state = State.BACKING_OFF
                self._due(record, now + delay_s)
                self._emit(ChildFailed(record.name, cause, record.child.handling, delay_s, budget_left))
            case Exhausted(history):
                self.ledger.write_down(record.name, cause, record.child.handling, None, 0)
                record.history = _not_running(history)
                self._exhaust(record, cause, now)
        record.child.handling = ""

    def _exhaust(self, record: Record, cause: BaseException, now: float) -> None:
        parked = record.child.parks and record.policy.on_exhausted == "park"
        self._emit(ChildExhausted(record.name, cause, parked, record.policy.probe_after if parked else 0.0))
        if not parked:
            record.exhausted = True
            self._end(record, cause)
            return
        record.state = State.PARKED
        self._bury(record, record.child.rest())
        self._due(record, now + record.policy.probe_after)

    def _restart_now(self, record: Record) -> None:
        if record.state in (State.BACKING_OFF, State.PARKED):
            self._spawn(record)
        elif record.state in (State.STARTING, State.RUNNING) and record.ever_ran:
            record.restarting = True
            record.scope.cancel()
            self._watch(record, STUCK_AFTER_S)

    def _begin_stop(self, record: Record, request: requests.Stop) -> None:
        if record.state is State.STOPPING:
            return
        before, record.state = record.state, State.STOPPING
        record.stop_reason = request.reason
        record.cancel_grace_s = request.cancel_grace_s
        record.child.request_stop(request.reason)
        if before in (State.BACKING_OFF, State.PARKED) or record.generation == 0:
            self._end(record, record.error)
        elif before is State.STARTING:
            self._cancel(record)
        else:
            self._watch(record, request.within_s)

    def _overdue(self, record: Record) -> None:
        if record.scope.cancel_called:
            self._emit(ChildStuck(record.name, STUCK_AFTER_S, tasks.stack(record.task)))
            if record.state is State.STOPPING:
                self._end(record, TimeoutError(f"{record.name} did not stop"))
        elif record.state is State.STOPPING:
            if not record.nudged and record.cancel_grace_s > 0 and record.child.nudge():
                record.nudged = True
                self._watch(record, record.cancel_grace_s)
            else:
                self._cancel(record)

    def _cancel(self, record: Record) -> None:
        record.scope.cancel()
        self._watch(record, STUCK_AFTER_S)

    def _watch(self, record: Record, limit_s: float) -> None:
        overdue = requests.Overdue(record, record.generation)
        self.timers.at(anyio.current_time() + limit_s, lambda: self._post(overdue))

    def _due(self, record: Record, at: float) -> None:
        due = requests.Due(record, record.generation)
        self.timers.at(at, lambda: self._post(due))

    def _end(self, record: Record, error: BaseException | None) -> None:
        if record.state is State.ENDED:
            return
        record.state = State.ENDED
        record.error = error
        self._records.pop(record.name, None)
        self._bury(record, record.child.dispose())
        record.first_start.set()
        record.ended.set()
        if record.on_end is not None:
            record.on_end(record)

    def _bury(self, record: Record, letters: Sequence[Envelope]) -> None:
        if letters:
            self._emit(dead_letters(record.name, letters))


def _not_running(history: History) -> History:
    return History(history.restarts, history.streak, None)
