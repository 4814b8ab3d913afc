"""What a supervisor asks of a child, what it remembers of it, and how it runs it."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import anyio

from . import tasks
from .envelope import Envelope
from .errors import StrayCancellation, collapse
from .restart import History, Policy, RestartType


class Child(Protocol):
    """Something that runs, fails, and can be run again: an actor's cell, or `main`."""

    name: str
    kind: RestartType
    parks: bool
    """Whether it rests when its restarts are used up, rather than ending with its error."""
    handling: str
    """The type of the message that is being handled."""

    async def run(self, started: Callable[[], None]) -> None:
        """Run one incarnation; call `started` once it is ready."""
        ...

    def request_stop(self, reason: str) -> None:
        """Ask the incarnation to end by itself."""
        ...

    def nudge(self) -> bool:
        """Cancel in a gentler way than by the scope, if there is one. Returns whether there was."""
        ...

    def rest(self) -> Sequence[Envelope]:
        """No incarnation for a while. Returns the messages that nobody will handle."""
        ...

    def dispose(self) -> Sequence[Envelope]:
        """No incarnation ever again. Returns the messages that nobody will handle."""
        ...


class State(enum.Enum):
    """Where a child stands."""

    STARTING = "starting"
    RUNNING = "running"
    BACKING_OFF = "backing off"
    PARKED = "parked"
    STOPPING = "stopping"
    ENDED = "ended"


class Record:
    """A child as its supervisor sees it. Only the supervisor's loop changes its state.

    Args:
        child: the child.
        policy: its policy.
        on_end: called once, when it has ended or (`on_exhausted="stop"`) used up its restarts.
    """

    def __init__(self, child: Child, policy: Policy, on_end: Callable[[Record], None] | None) -> None:
        self.child = child
        self.name = child.name
        self.policy = policy
        self.kind = policy.restart if policy.restart is not None else child.kind
        self.on_end = on_end
        self.state = State.STARTING
        self.generation = 0
        self.history = History()
        self.scope = anyio.CancelScope()
        self.task: Any = None
        self.ever_ran = False
        self.restarting = False  # an operator asked for it: not charged to the budget
        self.nudged = False
        self.deadline = math.inf  # of the step that it is in: a start, a stop, or a cancellation
        self.stop_reason = ""
        self.cancel_grace_s = 0.0
        self.error: BaseException | None = None
        self.exhausted = False
        self.first_start = anyio.Event()
        self.ended = anyio.Event()

    async def live(self, started: Callable[[], None]) -> BaseException | None:
        """Run one incarnation of the child. Raises nothing, unless the supervisor itself is cancelled.

        Args:
            started: called once the child is ready.

        Returns:
            What it failed with; None when it returned, or was cancelled by us.
        """
        scope = self.scope
        try:
            with scope:
                self.task = tasks.current()
                await self.child.run(started)
        except anyio.get_cancelled_exc_class():
            if tasks.cancelled_from_outside():
                raise
            return None if scope.cancel_called or self.nudged else StrayCancellation()
        except BaseException as error:  # whatever it is, it is this child's failure alone
            return collapse(error)
        return None
