"""The admin-inbox actor: claims messages for `main`, and tells the store what became of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import msgspec

from botvisor.actor import Actor, Context
from botvisor.control import Control, decode_control
from botvisor.doorbell import Doorbell
from botvisor.errors import LeaseLost, MalformedMessage, describe
from botvisor.inbox import Inbox
from botvisor.lane import Lane, Phase
from botvisor.logs import Log
from botvisor.messages import decode_message
from botvisor.process import Owner
from botvisor.ref import Ref
from botvisor.store import (
    Claim,
    Command,
    TakeControl,
)
from botvisor.wire import MAX_TRIES

from .broadcasts import Broadcasts
from .lane_steps import ask, failures, leave, next_step
from .leases import RENEW_EVERY_S, TRY_EVERY_S, Leases
from .twins import unmask

_RENEWALS_PER_LOOK = 3  # at the queues of a store whose doorbell looks by itself
RETRY_S = 1.0  # between two attempts while the store is away
_TOGETHER_S = 0.25  # the bots of a process whose renewals are due within this time share one batch


class Look(msgspec.Struct, frozen=True):
    """Look at the queues: a bell rang, a message was handled, or its reader died."""


class Renew(msgspec.Struct, frozen=True):
    """Renew the leases we hold, and try for those we don't."""


class Regain(msgspec.Struct, frozen=True):
    """Try for leases that were lost, as they may be free: the store was away, or has lost its memory."""


class InboxActor(Actor):
    """One incarnation of a bot's inbox.

    Args:
        inbox: what `main` reads; it survives this actor.
        owner: who the bot is, for its leases.
        backend: the backend actor.
        doorbell: tells when something came.
        on_control: carries out an operator's command.
        log: where it says what it does.
    """

    def __init__(
        self,
        inbox: Inbox,
        owner: Owner,
        backend: Ref[Any, Any],
        doorbell: Doorbell,
        on_control: Callable[[Control], None],
        log: Log,
    ) -> None:
        self._inbox = inbox
        self._owner = owner
        self._backend = backend
        self._doorbell = doorbell
        self._on_control = on_control
        self._log = log
        self._looking = False  # a Look is on its way
        self._control_rung = True
        self._renewals = 0
        self._regaining = False  # a Regain is on its way
        self._leases = Leases(inbox, owner, log)
        self._broadcasts = Broadcasts(inbox, log)
        self._failing: set[str] = set()  # what the store could not be asked for, when it was asked last

    async def start(self, ctx: Context) -> None:
        """Take the leases, and look at every queue once."""
        self._ctx = ctx
        self._inbox.on_change = self._look_soon
        self._inbox.unsubscribe()
        for lane in self._inbox.lanes:
            lane.rung = True
            self._inbox.subscriptions.append(self._doorbell.subscribe(lane.queue, self._ringer(lane)))
        self._inbox.subscriptions.append(self._doorbell.subscribe(self._owner.bot_id, self._ring_control))
        self._inbox.subscriptions.append(self._doorbell.on_broadcast(self._broadcasts.receive))
        await self._renew_and_go_on()
        self._look_soon()

    async def handle(self, message: Any) -> None:
        """Look at the queues, or renew the leases."""
        match message:
            case Look():
                self._looking = False
                await self._look()
            case Regain():
                self._regaining = False
                await self._renew()
                self._look_soon()
            case Renew():
                await self._renew_and_go_on()
                self._ring_all()
            case _:
                await super().handle(message)

    async def stop(self, reason: str) -> None:
        """Tell the store what was handled, put back what nobody was shown, and give the leases up."""
        self._inbox.on_change = lambda: None
        self._inbox.unsubscribe()
        await leave(self._inbox, self._owner, self._backend, self._log)

    async def _look(self) -> None:
        lanes = [lane for lane in self._inbox.lanes if lane.leased and self._wants(lane)]
        commands = [next_step(lane, self._owner, take=not self._inbox.ended) for lane in lanes]
        # As long as another bot holds our id a command may be meant for that one.
        heeds = self._control_rung and not self._leases.id_is_held
        controls = [TakeControl(self._owner.bot_id)] if heeds else []
        # A bell that rings while the store is asked rings for the next look.
        self._control_rung = self._control_rung and not heeds
        for lane in lanes:
            lane.rung = False
        answers = await self._ask([*controls, *commands])
        # What was taken is known to nobody else: it is carried out before anything can cut this short.
        for taken in answers[: len(controls)]:
            self._carry_out(taken)
        found = await unmask(self._inbox, lanes, answers[len(controls) :], self._ask)
        for lane, answer in zip(lanes, found, strict=True):
            if isinstance(answer, LeaseLost):
                # To somebody else, or the store has lost its memory: then what rang is still there.
                lane.leased_until, lane.rung = 0.0, True
                self._regain()
            elif isinstance(answer, Exception):
                lane.rung = True
            else:
                self._advance(lane, answer)
        if self._report("queues", answers) and not self._looking:
            self._looking = True
            self._ctx.tell_after(RETRY_S, Look())

    def _wants(self, lane: Lane) -> bool:
        match lane.phase:
            case Phase.DONE | Phase.MALFORMED:
                return True
            case Phase.LOST:
                return not self._inbox.ended
            case Phase.EMPTY:
                return lane.rung and not self._inbox.ended
        return False

    def _advance(self, lane: Lane, claim: Claim | None) -> None:
        before, lost, message = lane.phase, lane.claim, lane.message
        if before is Phase.LOST and lost is not None and message is not None and lost.tries >= MAX_TRIES:
            self._log.error("admin", f"Gave {message.id} of {lane.queue} up after {lost.tries} tries")
        if before is Phase.MALFORMED:
            lane.forget()
            self._look_soon()
        elif claim is None:
            lane.clear()
        else:
            self._take_in(lane, claim)

    def _take_in(self, lane: Lane, claim: Claim) -> None:
        bot_id = self._owner.bot_id
        try:
            message = decode_message(
                claim.raw,
                fallback_id=claim.name,
                source=claim.source,
                tries=claim.tries,
                redelivered=claim.tries > 1 or claim.doubtful or self._is_doubtful(lane, claim),
                received_at=claim.stored_at,
            )
        except MalformedMessage as error:
            self._log.warning("admin", f"Quarantined {claim.name} of {lane.queue}: {error.reason}")
            lane.refuse(claim, error.reason)
            self._look_soon()
            return
        lane.put(claim, message)
        if claim.done or self._inbox.was_handled(message.id):
            self._log.debug("admin", f"Dropped a repeat of {message.id}, which bot {bot_id} has handled")
            lane.finish(handled=True)
            self._look_soon()
            return
        if message.redelivered:
            self._log.warning("admin", f"Delivering {message.id} to bot {bot_id} again, try {message.tries}")
        self._inbox.arrived()

    def _is_doubtful(self, lane: Lane, claim: Claim) -> bool:
        # While a store is away nobody can tell whether it has a twin of a message older than this bot.
        unknown = not self._inbox.past_known and claim.stored_at < self._inbox.began
        return unknown or claim.stored_at < lane.doubtful_until

    def _ring_all(self) -> None:
        # A doorbell that has failed rings nobody: without it messages are late, and not lost.
        self._renewals += 1
        for lane in self._inbox.lanes:
            # Redis's looks at all its queues each second by itself.
            if lane.queue.store != "redis" or self._renewals % _RENEWALS_PER_LOOK == 0:
                lane.rung = True
        self._ring_control()

    async def _renew_and_go_on(self) -> None:
        failed = await self._renew()
        every_s = RETRY_S if failed else TRY_EVERY_S if self._leases.waiting else RENEW_EVERY_S
        due = anyio.current_time() + every_s
        self._ctx.tell_at(math.ceil(due / _TOGETHER_S) * _TOGETHER_S, Renew())

    async def _renew(self) -> bool:
        """Renew the leases. Returns whether a store failed at that."""
        return self._report("leases", await self._leases.renew(self._ask))

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        return await ask(self._backend, commands)

    def _carry_out(self, taken: Any) -> None:
        if isinstance(taken, Exception):
            self._control_rung = True
            return
        for raw in taken:
            try:
                control = decode_control(raw)
            except MalformedMessage as error:
                self._log.warning(
                    "admin", f"Ignored a control command for bot {self._owner.bot_id}: {error.reason}"
                )
                continue
            if self._inbox.is_new_control(control.id):
                self._log.info("admin", f"Bot {self._owner.bot_id} was told to {control}")
                self._on_control(control)

    def _report(self, asked_for: str, answers: Sequence[Any]) -> bool:
        """Say once when the store cannot be asked, and once when it can again. Returns whether it failed."""
        errors = failures(answers)
        failed_before = bool(self._failing)
        if errors:
            self._failing.add(asked_for)
        else:
            self._failing.discard(asked_for)
        bot_id = self._owner.bot_id
        if errors and not failed_before:
            self._log.error(
                "admin", f"The inbox of bot {bot_id} cannot reach its queues: {describe(errors[0])}"
            )
        elif failed_before and not self._failing:
            self._log.info("admin", f"The inbox of bot {bot_id} reaches its queues again")
        return bool(errors)

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._ctx.tell(Look())

    def _regain(self) -> None:
        if not self._regaining:
            self._regaining = True
            self._ctx.tell(Regain())

    def _ringer(self, lane: Lane) -> Callable[[], None]:
        def ring() -> None:
            lane.rung = True
            if lane.leased:
                self._look_soon()
            elif not lane.standing_by:
                self._regain()

        return ring

    def _ring_control(self) -> None:
        self._control_rung = True
        self._look_soon()
