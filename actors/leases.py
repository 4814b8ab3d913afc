"""The leases of an inbox: taken, renewed, watched while somebody else holds one, and given up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from botvisor.errors import describe
from botvisor.heartbeat import Heartbeat
from botvisor.inbox import Inbox
from botvisor.lane import Lane, Phase, Rival
from botvisor.logs import Log
from botvisor.process import Owner
from botvisor.store import AcquireLease, Command, ReadHeartbeat, ReadPast, ReleaseLease
from botvisor.wire import LEASE_TTL_S

RENEW_EVERY_S = 9.0  # a lease that we hold: it lives more than three times as long
TRY_EVERY_S = 5.0  # a queue that somebody else consumes

Ask = Callable[[Sequence[Command]], Any]


class Leases:
    """The leases of one inbox.

    Args:
        inbox: whose lanes are meant.
        owner: who the bot is.
        log: where it says what it does.
    """

    def __init__(self, inbox: Inbox, owner: Owner, log: Log) -> None:
        self._inbox = inbox
        self._owner = owner
        self._log = log

    @property
    def id_is_held(self) -> bool:
        """Whether somebody else holds the bot's own id."""
        return any(lane.standing_by and lane.queue.key == self._owner.bot_id for lane in self._inbox.lanes)

    @property
    def waiting(self) -> bool:
        """Whether a queue is to be had soon, if its holder ends.

        The queue of a process's pid is not: one of its bots has it, and it is of no use to the others.
        """
        return not all(
            lane.leased or self._yields(lane) or self._is_beside_holder(lane) for lane in self._inbox.lanes
        )

    async def renew(self, ask: Ask) -> list[Any]:
        """Renew what is due, and try for what is not ours.

        Args:
            ask: asks the backend.

        Returns:
            The answers.
        """
        # Counted from before the store was asked: our lease never ends later than the store's.
        now = anyio.current_time()
        old = [lane for lane in self._inbox.lanes if lane.leased_until < now + LEASE_TTL_S - RENEW_EVERY_S]
        due = [lane for lane in old if not self._yields(lane)]
        answers: list[Any] = await ask([AcquireLease(lane.queue, self._owner) for lane in due])
        for lane, answer in zip(due, answers, strict=True):
            if answer is None:
                self._hold(lane, now)
            elif isinstance(answer, Owner):
                self._stand_by(lane, answer)
        await self._doubt(ask)
        await self._give_way(ask)
        if not self._inbox.past_known:
            await self._read_past(ask)
        return answers

    def _yields(self, lane: Lane) -> bool:
        """Return whether a room's queue in the spool is another bot's: whoever serves the room on Redis."""
        return lane.queue.store == "file" and any(twin.standing_by for twin in self._inbox.twins(lane))

    def _is_beside_holder(self, lane: Lane) -> bool:
        return lane.queue.kind == "bot" and lane.rival is not None and lane.rival.owner.beside(self._owner)

    async def _give_way(self, ask: Ask) -> None:
        """Give up what another bot should serve; without one here its messages are forwarded to Redis."""
        lanes = [lane for lane in self._inbox.lanes if lane.leased and self._yields(lane)]
        idle = [lane for lane in lanes if lane.phase is Phase.EMPTY]
        for lane in idle:
            lane.leased_until = 0.0
        await ask([ReleaseLease(lane.queue, self._owner.instance) for lane in idle])

    def _stand_by(self, lane: Lane, owner: Owner) -> None:
        lane.leased_until = 0.0
        if not lane.standing_by:
            # A queue is said once, though it may be in two stores.
            told = any(twin.standing_by for twin in self._inbox.twins(lane))
            lane.standing_by = True
            say = self._log.warning if lane.was_leased else self._log.info
            if not told:
                say("admin", f"{owner} serves {lane.queue}: bot {self._owner.bot_id} stands by")
        self._watch(lane, owner)

    def _watch(self, lane: Lane, owner: Owner) -> None:
        """Say once that a bot of our own id lives elsewhere: its lease was renewed before our eyes."""
        now = anyio.current_time()
        if lane.rival is None or lane.rival.owner.instance != owner.instance:
            lane.rival = Rival(owner, now)
        elif lane.queue.key == self._owner.bot_id and now - lane.rival.since > LEASE_TTL_S:
            lane.rival = Rival(owner, float("inf"))
            self._log.error(
                "admin", f"Bot id {owner.bot_id!r} is taken by {owner}: give one of the two another BOT_ID"
            )

    def _hold(self, lane: Lane, since: float) -> None:
        if not lane.leased:
            self._inbox.past_known = False
            if lane.phase is Phase.READY:
                lane.forget()  # whoever had the lease in between may have shown it
        if lane.standing_by:
            lane.standing_by = False
            if not any(twin.leased for twin in self._inbox.twins(lane)):
                self._log.info("admin", f"Bot {self._owner.bot_id} serves {lane.queue} now")
        lane.leased_until, lane.was_leased = since + LEASE_TTL_S, True

    async def _doubt(self, ask: Ask) -> None:
        """Doubt what waits in queues whose holder, on another host, fell silent.

        It may have lost Redis alone, and been shown what its host's spool holds as well, and told nobody.
        """
        taken_over = [
            (lane, lane.rival.owner)
            for lane in self._inbox.lanes
            if lane.leased and lane.rival is not None and lane.rival.owner.host != self._owner.host
        ]
        beats = await ask([ReadHeartbeat(rival.bot_id) for _, rival in taken_over])
        for (lane, rival), beat in zip(taken_over, beats, strict=True):
            if not _stopped(rival, beat):
                lane.doubtful_until = time.time()
        for lane in self._inbox.lanes:
            if lane.leased:
                lane.rival = None

    async def _read_past(self, ask: Ask) -> None:
        """Read what became of all queues' messages: an id may be in several of them."""
        queues = [lane.queue for lane in self._inbox.lanes]
        answers = await ask([ReadPast(queue, self._owner.instance) for queue in queues])
        errors = [answer for answer in answers if isinstance(answer, Exception)]
        for queue, answer in zip(queues, answers, strict=True):
            if not isinstance(answer, Exception):
                self._inbox.learn(queue, answer)
        self._inbox.past_known = not errors
        if errors:
            self._log.debug("admin", f"Bot {self._owner.bot_id} knows no past: {describe(errors[0])}")


def _stopped(owner: Owner, beat: Any) -> bool:
    """Return whether a holder has ended in order, and told the store all it knew."""
    return isinstance(beat, Heartbeat) and beat.instance == owner.instance and beat.status == "stopped"
