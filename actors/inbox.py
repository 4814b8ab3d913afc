"""The admin-inbox actor: claims messages for `main`, and tells the store what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec

from botvisor.actor import Actor, Context
from botvisor.control import Control, decode_control
from botvisor.errors import ActorError, LeaseLost, MalformedMessage, StoreError
from botvisor.inbox import Inbox, Lane, Phase
from botvisor.logs import Log
from botvisor.messages import decode_message
from botvisor.process import Owner
from botvisor.ref import Ref
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Claim,
    Command,
    Doorbell,
    NextMessage,
    ReleaseLease,
    ReturnMessage,
    TakeControl,
)
from botvisor.wire import LEASE_TTL_S

RENEW_EVERY_S = 5.0  # a queue that somebody else consumes is tried as often; a lease lives six times as long
_RETRY_S = 0.5
_TIMEOUT_S = 3.0


class Look(msgspec.Struct, frozen=True):
    """Look at the queues: a bell rang, a message was handled, or its reader died."""


class Renew(msgspec.Struct, frozen=True):
    """Renew the leases we hold, and try for those we don't."""


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
        backend: Ref,
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
        self._subscriptions: list[Callable[[], None]] = []
        self._looking = False  # a Look waits in the mailbox
        self._control_rung = True
        self._troubled = False  # the last look could not reach the store

    async def start(self, ctx: Context) -> None:
        """Take the leases, and look at every queue once."""
        self._ctx = ctx
        self._inbox.on_change = self._look_soon
        for lane in self._inbox.lanes:
            lane.rung = True
            self._subscriptions.append(self._doorbell.subscribe(lane.queue, self._ringer(lane)))
        self._subscriptions.append(self._doorbell.subscribe(self._owner.bot_id, self._ring_control))
        await self._renew()
        self._look_soon()
        ctx.tell_after(RENEW_EVERY_S, Renew())

    async def handle(self, message: Any) -> None:
        """Look at the queues, or renew the leases."""
        match message:
            case Look():
                self._looking = False
                await self._look()
            case Renew():
                self._ctx.tell_after(RENEW_EVERY_S, Renew())
                await self._renew()
            case _:
                await super().handle(message)

    async def stop(self, reason: str) -> None:
        """Tell the store what was handled, put back what nobody was shown, and give the leases up."""
        self._inbox.on_change = lambda: None
        for unsubscribe in self._subscriptions:
            unsubscribe()
        commands: list[Command] = []
        for lane in self._inbox.lanes:
            if lane.phase is Phase.DONE:
                commands.append(self._next(lane, take=False))
            elif lane.phase is Phase.READY and lane.claim is not None:
                commands.append(ReturnMessage(lane.queue, self._owner.instance, lane.claim.token))
        commands += [ReleaseLease(lane.queue, self._owner.instance) for lane in self._inbox.lanes]
        for command, answer in zip(commands, await self._ask(commands), strict=True):
            if isinstance(answer, Exception) and not isinstance(answer, LeaseLost):
                self._log.error("admin", f"{type(command).__name__} failed as the inbox stopped: {answer}")

    async def _look(self) -> None:
        # A bell that rings while the store is asked sets `rung` again, and brings another Look.
        if self._control_rung:
            await self._take_control()
        lanes = [lane for lane in self._inbox.lanes if lane.leased_until and self._wants(lane)]
        if not lanes:
            return
        now = anyio.current_time()
        if any(lane.leased_until <= now for lane in lanes):
            await self._renew()
            lanes = [lane for lane in lanes if lane.leased_until > now]
        commands = [self._next(lane, take=not self._inbox.ended) for lane in lanes]
        for lane in lanes:
            lane.rung = False
        trouble: Exception | None = None
        for lane, answer in zip(lanes, await self._ask(commands), strict=True):
            if isinstance(answer, LeaseLost):
                self._stand_by(lane)
            elif isinstance(answer, Exception):
                lane.rung = True
                trouble = answer
            else:
                await self._accept(lane, answer)
        self._report(trouble)

    def _wants(self, lane: Lane) -> bool:
        if self._inbox.ended:
            return lane.phase is Phase.DONE  # nothing new is claimed
        if lane.phase is Phase.READY:
            return lane.leased_until <= anyio.current_time()
        return lane.phase in (Phase.DONE, Phase.LOST) or (lane.phase is Phase.EMPTY and lane.rung)

    async def _accept(self, lane: Lane, claim: Claim | None) -> None:
        if claim is None:
            if lane.phase is not Phase.READY:
                lane.claim = lane.message = None
                lane.phase = Phase.EMPTY
            return
        if lane.phase is Phase.READY and lane.claim is not None and lane.claim.token == claim.token:
            return
        try:
            message = decode_message(
                claim.raw,
                fallback_id=claim.name,
                source=claim.source,
                tries=claim.tries,
                redelivered=claim.tries > 1 or claim.doubtful,
                received_at=claim.stored_at,
            )
        except MalformedMessage as error:
            await self._quarantine(lane, claim, error)
            return
        lane.put(claim, message)
        if claim.done or self._inbox.was_handled(message.id):
            self._log.debug(
                "admin", f"Dropped a repeat of {message.id}, which bot {self._owner.bot_id} has handled"
            )
            lane.finish(handled=True)
            self._look_soon()
            return
        if message.redelivered:
            self._log.warning(
                "admin", f"Delivering {message.id} to bot {self._owner.bot_id} again, try {message.tries}"
            )
        self._inbox.arrived()

    async def _quarantine(self, lane: Lane, claim: Claim, error: MalformedMessage) -> None:
        self._log.warning("admin", f"Quarantined {claim.name} of {lane.queue}: {error.reason}")
        bury = BuryMessage(lane.queue, self._owner.instance, claim.token, error.reason, malformed=True)
        answer = (await self._ask([bury]))[0]
        lane.clear()
        if isinstance(answer, Exception):
            self._report(answer)
        else:
            self._look_soon()

    async def _renew(self) -> None:
        lanes = self._inbox.lanes
        answers = await self._ask([AcquireLease(lane.queue, self._owner) for lane in lanes])
        now = anyio.current_time()
        for lane, answer in zip(lanes, answers, strict=True):
            if answer is None:
                if lane.leased_until <= now:
                    lane.rung = True
                    self._look_soon()
                lane.leased_until = now + LEASE_TTL_S
            elif isinstance(answer, Owner):
                self._stand_by(lane)
        self._inbox.arrived()  # what waited for its lease to be renewed can go out

    def _stand_by(self, lane: Lane) -> None:
        if lane.leased_until:
            self._log.warning(
                "admin", f"Another bot serves {lane.queue} now; bot {self._owner.bot_id} stands by"
            )
        lane.leased_until = 0.0
        if lane.phase is not Phase.HELD:
            lane.clear()

    async def _take_control(self) -> None:
        self._control_rung = False
        answer = (await self._ask([TakeControl(self._owner.bot_id)]))[0]
        if isinstance(answer, Exception):
            self._control_rung = True
            self._report(answer)
            return
        for raw in answer:
            try:
                control = decode_control(raw)
            except MalformedMessage as error:
                self._log.warning(
                    "admin", f"Ignored a control command for bot {self._owner.bot_id}: {error.reason}"
                )
                continue
            self._log.info("admin", f"Bot {self._owner.bot_id} was told to {control}")
            self._on_control(control)

    def _next(self, lane: Lane, *, take: bool) -> NextMessage:
        instance = self._owner.instance
        return NextMessage(lane.queue, instance, f"{instance}-{lane.attempt}", lane.done(), take)

    async def _ask(self, commands: list[Any]) -> list[Any]:
        try:
            return await self._backend.ask_all(commands, timeout=_TIMEOUT_S)
        except ActorError as error:
            return [error] * len(commands)

    def _report(self, trouble: Exception | None) -> None:
        if trouble is None:
            if self._troubled:
                self._log.info("admin", f"The inbox of bot {self._owner.bot_id} reaches its queues again")
            self._troubled = False
            return
        if not isinstance(trouble, (StoreError, ActorError)):
            raise trouble
        if not self._troubled:
            self._log.error(
                "admin", f"The inbox of bot {self._owner.bot_id} cannot reach its queues: {trouble}"
            )
        self._troubled = True
        self._ctx.tell_after(_RETRY_S, Look())

    def _look_soon(self) -> None:
        if not self._looking:
            self._looking = True
            self._ctx.tell(Look())

    def _ringer(self, lane: Lane) -> Callable[[], None]:
        def ring() -> None:
            lane.rung = True
            self._look_soon()

        return ring

    def _ring_control(self) -> None:
        self._control_rung = True
        self._look_soon()
