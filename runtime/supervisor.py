"""The supervisor: starts children, restarts those that fail, and stops them in order.

Only its one loop changes the state of a child, by its `Lifecycle`. Runners of children never raise: they post
what happened to the loop's control stream.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskStatus

from . import requests, tasks
from .cell import Cell
from .child import Child, Record, State
from .errors import ActorStopped, StartFailed, StrayCancellation, SupervisorStopped
from .events import Emit
from .ledger import Ledger
from .lifecycle import Lifecycle
from .restart import Policy
from .timers import Timers


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
        self._life = Lifecycle(self.timers, self.ledger, emit, self._post, self._begin, seed)
        self._records = self._life.records
        self._requests, self._control = anyio.create_memory_object_stream[Any](math.inf)
        self._group: tasks.ChildGroup
        self._closing = False

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Supervise until `shutdown`, and until the last child's task has ended.

        A cancellation from outside does not reach the children: shut down first.

        Raises:
            StrayCancellation: a child's task was cancelled before its first step, which no code can catch:
                asyncio ends the whole task group for it.
        """
        try:
            with anyio.CancelScope(shield=True):
                async with tasks.ChildGroup() as self._group:
                    self._group.start_soon(self._keep_time, name="botvisor timers")
                    task_status.started()
                    async for request in self._control:
                        if isinstance(request, requests.Shutdown):
                            break
                        self._life.carry_out(request)
                    self._group.cancel_scope.cancel()
            if not self._closing:
                raise StrayCancellation
        finally:
            self._closing = True
            self._requests.close()
            self._control.close()
            for record in list(self._records.values()):
                self._life.end(record, record.error)
            self.ended.set()

    async def start(
        self, child: Child, policy: Policy, on_end: Callable[[Record], None] | None = None
    ) -> Record:
        """Start a child and wait until it says that it has started.

        If the wait is cancelled, the child is stopped.

        Args:
            child: the child; its name must be free.
            policy: when it is restarted.
            on_end: called once it has ended for good; must not block.

        Returns:
            Its record.

        Raises:
            StartFailed: when its first start failed, took too long, or was ended by a stop.
            SupervisorStopped: when the supervisor is stopping.
            ValueError: when a child of that name runs already.
        """
        if self._ends():
            raise SupervisorStopped
        if child.name in self._records:
            raise ValueError(f"a child named {child.name!r} runs already")
        record = self._records[child.name] = Record(child, policy, on_end)
        self._requests.send_nowait(requests.Start(record))
        try:
            await record.first_start.wait()
        except BaseException:
            self._post(requests.Stop(record, "its start was cancelled", policy.stop_timeout, 0.0))
            raise
        if not record.ever_ran:
            if record.error is None and self._ends():
                raise SupervisorStopped
            cause = record.error or ActorStopped(child.name)
            raise StartFailed(child.name, cause) from cause
        return record

    async def stop(
        self, name: str, reason: str, *, within_s: float | None = None, cancel_grace_s: float = 0.0
    ) -> None:
        """Stop a child in order, and wait until it has ended or is reported as stuck.

        To stop a child that is stopping already can only make it more urgent.

        Args:
            name: the child's name; one that has ended already is fine.
            reason: why.
            within_s: how long it has to end by itself; None is its policy's `stop_timeout`.
            cancel_grace_s: how long it has between a gentle cancel, if it knows one, and its scope's cancel.
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

    def stacks(self, prefix: str = "") -> dict[str, str]:
        """Return where each running child stands, innermost line last; no local variables."""
        running = [record for name, record in self._records.items() if name.startswith(prefix)]
        return {record.name: tasks.stack(record.task) for record in running if record.task is not None}

    def has_mailbox(self, name: str) -> bool:
        """Return whether a child is an actor."""
        record = self._records.get(name)
        return record is not None and isinstance(record.child, Cell)

    def waiting(self, name: str) -> tuple[int, float]:
        """Return how many messages wait for an actor, and for how long the oldest has, in seconds."""
        record = self._records.get(name)
        if record is None or not isinstance(record.child, Cell):
            return 0, 0.0
        mailbox = record.child.mailbox
        return len(mailbox), mailbox.oldest_s(anyio.current_time())

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the children that have not ended, in the order of their start."""
        return [name for name in self._records if name.startswith(prefix)]

    async def shutdown(self, reason: str) -> None:
        """Stop all children, the last started first, and end `run`. Bounded by their stop time-outs."""
        self._closing = True
        for name in reversed(self.names()):
            await self.stop(name, reason)
        self._post(requests.Shutdown())
        if not self.stuck:
            await self.ended.wait()

    @property
    def stuck(self) -> bool:
        """Whether a child goes on although it was cancelled; `run` cannot return before it has ended."""
        return bool(self._life.stuck)

    def _ends(self) -> bool:
        return self._closing

    def _post(self, request: Any) -> None:
        # Once the supervisor has ended, so has everything that this could be about.
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._requests.send_nowait(request)

    def _begin(self, record: Record) -> None:
        self._group.start_soon(self._incarnation, record, record.generation, name=record.name)

    async def _incarnation(self, record: Record, generation: int) -> None:
        error = await record.live(lambda: self._post(requests.Started(record, generation)))
        self._post(requests.Exited(record, generation, error))

    async def _keep_time(self) -> None:
        try:
            await self.timers.run()
        except anyio.get_cancelled_exc_class():
            if tasks.cancelled_from_outside():
                raise
            self._group.start_soon(self._keep_time, name="botvisor timers")
