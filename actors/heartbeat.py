"""The heartbeat actor: says at once when something changes, and regularly that the bot lives."""

from __future__ import annotations

import math
from typing import Any

import anyio
import msgspec

from botvisor.actor import Actor, Context
from botvisor.errors import ActorError, StoreAway, StoreError, UnsafeDirectory
from botvisor.heartbeat import to_hash
from botvisor.logs import Log
from botvisor.ref import Ref
from botvisor.store import WriteHeartbeat
from botvisor.vitals import Vitals

_TIMEOUT_S = 4.5  # the batch that is in flight may take its 2 s before ours takes the same


class Beat(msgspec.Struct, frozen=True):
    """Write a heartbeat: the interval has passed."""


class Changed(msgspec.Struct, frozen=True):
    """Write a heartbeat: what it says has changed."""


class HeartbeatActor(Actor):
    """One incarnation of a bot's heartbeat.

    Args:
        vitals: what the heartbeats say.
        backend: the backend actor.
        interval_s: seconds between two heartbeats.
        log: where it says what it does.
        phase_s: how long after a whole multiple of the interval they are due.
    """

    def __init__(
        self, vitals: Vitals, backend: Ref[Any, Any], interval_s: float, log: Log, phase_s: float = 0.0
    ) -> None:
        self._vitals = vitals
        self._backend = backend
        self._interval_s = interval_s
        self._phase_s = phase_s
        self._log = log
        self._changed = False  # a Changed waits in the mailbox: the latest wins
        self._troubled = False

    async def start(self, ctx: Context) -> None:
        """Write the first heartbeat.

        Raises:
            UnsafeDirectory: heartbeats would go where others can change them.
        """
        self._ctx = ctx
        self._vitals.on_change = self._change
        trouble = await self._write()
        if isinstance(trouble, UnsafeDirectory):
            raise trouble
        self._next_beat()

    async def handle(self, message: Any) -> None:
        """Write a heartbeat."""
        match message:
            case Beat():
                self._next_beat()
                await self._write()
            case Changed():
                self._changed = False
                await self._write()
            case _:
                await super().handle(message)

    async def stop(self, reason: str) -> None:
        """Write the last words."""
        self._vitals.on_change = lambda: None
        await self._write()

    def _next_beat(self) -> None:
        # The bots of a process that have one phase beat in the same moment, so in few batches.
        past = math.floor((anyio.current_time() - self._phase_s) / self._interval_s)
        self._ctx.tell_at((past + 1) * self._interval_s + self._phase_s, Beat())

    def _change(self) -> None:
        if not self._changed:
            self._changed = True
            self._ctx.tell(Changed())

    async def _write(self) -> Exception | None:
        bot_id = self._vitals.owner.bot_id
        try:
            await self._backend.ask(WriteHeartbeat(bot_id, to_hash(self._vitals.beat())), timeout=_TIMEOUT_S)
        except (StoreError, ActorError) as error:
            if not self._troubled and not isinstance(error, StoreAway):
                self._log.error("heartbeat", f"Could not send the heartbeat for bot {bot_id}: {error}")
            self._troubled = True
            return error
        self._troubled = False
        self._log.info("heartbeat", f"Sent heartbeat for bot {bot_id}")
        return None
