"""A lane of the inbox: what is known of one queue of one store, and of its message in flight.

It outlives the inbox actor's incarnations, as the inbox does.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import anyio

from .messages import AdminMessage
from .process import Owner
from .store import Claim, Done, Queue

NO_QUEUE = Queue("bot", "")
"""The queue of what was announced to everybody: no store holds it."""


class Phase(enum.Enum):
    """Where the message in flight of a queue stands."""

    EMPTY = "nothing is in flight"
    READY = "claimed, and nobody was shown it"
    HELD = "a reader has it"
    DONE = "handled, and the store is to be told"
    LOST = "its reader died: to be claimed again"
    MALFORMED = "claimed, and cannot be understood: to be put into quarantine"


class Rival(NamedTuple):
    """Who else holds a lease, and since when that is known, by the clock of `anyio.current_time`."""

    owner: Owner
    since: float


class Lane:
    """One queue of the inbox, with at most one message in flight.

    Args:
        queue: the queue.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.phase = Phase.EMPTY
        self.rung = True
        self.leased_until = 0.0
        self.was_leased = False
        self.standing_by = False
        self.rival: Rival | None = None
        self.doubtful_until = 0.0  # by the wall clock: what is older may have been shown elsewhere
        self.attempt = 0
        self.claim: Claim | None = None
        self.message: AdminMessage | None = None
        self.problem = ""

    @property
    def leased(self) -> bool:
        """Whether the lease is ours for sure: past its time somebody else may have it."""
        return self.leased_until > anyio.current_time()

    def put(self, claim: Claim, message: AdminMessage) -> None:
        """Take a claimed message in, for a reader."""
        self.claim = claim
        self.message = message
        self.phase = Phase.READY

    def refuse(self, claim: Claim, problem: str) -> None:
        """Take a claimed message in that nobody can be shown."""
        self.claim = claim
        self.message = None
        self.problem = problem
        self.phase = Phase.MALFORMED

    def finish(self, *, handled: bool) -> None:
        """End a message's time with its reader."""
        self.phase = Phase.DONE if handled else Phase.LOST
        self.attempt += not handled

    def done(self) -> Done | None:
        """Return what the store is to acknowledge, if there is something."""
        if self.phase is not Phase.DONE or self.claim is None or self.message is None:
            return None
        return Done(self.claim.token, self.message.id)

    def clear(self) -> None:
        """Nothing is in flight."""
        self.phase = Phase.EMPTY
        self.claim = self.message = None

    def forget(self) -> None:
        """What is in flight is not known any more: the store is to be asked."""
        self.clear()
        self.rung = True
