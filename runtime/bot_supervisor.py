"""The bots' supervisor: one for many bots, over one backend actor."""

from __future__ import annotations

import os
import time
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup, TaskStatus

from botvisor.actors.backend.actor import BackendActor
from botvisor.actors.backend.retry import RetryingStore
from botvisor.actors.heartbeat import HeartbeatActor
from botvisor.actors.identity import IdentityActor
from botvisor.actors.inbox import InboxActor
from botvisor.config import Settings

from . import bot_id as ids
from .bot import Bot
from .cell import Cell
from .child import Record, State
from .control import Control
from .errors import SupervisorStopped
from .handle import BotHandle, Significant, SupervisedMain
from .identities import Identities, IdentityCache
from .inbox import Inbox, Lane
from .logs import Log
from .main import Main, MainTask
from .process import Owner
from .restart import Policy
from .room import canonical_room
from .store import Doorbell, Queue, Store
from .supervisor import Supervisor
from .task_child import TaskChild
from .vitals import Vitals

BACKEND_CAPACITY = 8192


class BotSupervisor:
    """Runs bots, and what they share: the supervisor, the backend actor and the doorbell.

    Args:
        settings: the settings of the process.
        store: where everything is kept.
        doorbell: tells when something came.
        log: where everything is said.
    """

    def __init__(self, settings: Settings, store: Store, doorbell: Doorbell, log: Log) -> None:
        self.settings = settings
        self.log = log
        self.core = Supervisor(log.event)
        self.ended = anyio.Event()
        self._doorbell = doorbell
        self._cell = Cell(
            "backend",
            lambda: BackendActor(RetryingStore(store, log), log),
            self.core.timers,
            capacity=BACKEND_CAPACITY,
        )
        self.backend = self._cell.ref
        self._handles: dict[str, BotHandle] = {}
        self._taken_ids: set[str] = set()
        self._closing = anyio.Event()
        self._began = time.monotonic()
        self._group: TaskGroup

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until `shutdown`; a cancellation from outside does not reach the bots: shut down first.

        Raises:
            StartFailed: when the backend or the doorbell did not start.
        """
        try:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as self._group:
                    await self._group.start(self.core.run)
                    try:
                        await self.core.start(self._cell, Policy())
                        await self.core.start(TaskChild("doorbell", self._doorbell.run), Policy())
                        task_status.started()
                        await self._closing.wait()
                    finally:
                        await self.core.shutdown("the supervisor was closed")
        finally:
            self._closing.set()
            self.ended.set()

    async def shutdown(self, reason: str = "the supervisor was closed") -> None:
        """Stop every bot, all at once and each within its grace, then what they share.

        Args:
            reason: why, for the operators.
        """
        handles = list(self._handles.values())
        for handle in handles:
            handle.request_stop(reason)
        for handle in handles:
            await handle.finished.wait()
        self._closing.set()
        await self.ended.wait()

    async def start_bot(
        self,
        main: Main,
        *,
        room_url: str = "",
        bot_id: str | None = None,
        policy: Policy | None = None,
        grace: float = 15.0,
    ) -> BotHandle:
        """Start a bot, and return once its actors have started and `main` runs.

        Args:
            main: the bot's code: an async function that takes the `Bot`, or nothing.
            room_url: the room that it serves; without one it gets no room's messages.
            bot_id: its id; None takes `BOT_ID`, or makes one from the pid.
            policy: how its actors are restarted, and with `restart` set, `main` too.
            grace: how long `main` has to end when the bot is stopped, in seconds.

        Returns:
            The bot's handle.

        Raises:
            BotIdTaken: when a live bot elsewhere has the id that was given.
            StartFailed: when an actor did not start; what had started is stopped again.
            ValueError: when the id is not a valid one.
        """
        policy = policy or Policy()
        handle, vitals = await self._start_actors(room_url, bot_id, policy, grace)

        def running() -> None:
            vitals.running = True
            vitals.on_change()

        try:
            task = MainTask(main, handle.bot, running)
            significant = SupervisedMain(task, self.core)

            def ended(record: Record) -> None:
                significant.ended(record)
                handle.main_ended()

            await self.core.start(task, policy, ended)
        except BaseException:
            await self._stop_actors(handle.id)
            raise
        self._group.start_soon(self._conduct, handle, significant, name=f"{handle.id} conductor")
        return handle

    async def start_block(
        self,
        significant: Significant,
        *,
        room_url: str,
        bot_id: str | None,
        policy: Policy | None,
        grace: float,
    ) -> BotHandle:
        """Start a bot whose code is the block of an `open_bot`; the parameters are those of `start_bot`."""
        handle, vitals = await self._start_actors(room_url, bot_id, policy or Policy(), grace)
        self._group.start_soon(self._conduct, handle, significant, name=f"{handle.id} conductor")
        vitals.running = True
        vitals.on_change()
        return handle

    async def _conduct(self, handle: BotHandle, significant: Significant) -> None:
        self._handles[handle.id] = handle
        try:
            await handle.conduct(significant)
        finally:
            self._handles.pop(handle.id, None)
            self._taken_ids.discard(handle.id)

    async def _start_actors(
        self, room_url: str, given_id: str | None, policy: Policy, grace: float
    ) -> tuple[BotHandle, Vitals]:
        if self._closing.is_set():
            raise SupervisorStopped
        owner = await ids.acquire(given_id, self.settings, self._taken_ids, self.backend, self.log)
        inbox, cache = Inbox(), IdentityCache()
        inbox.lanes = [Lane(queue) for queue in self._queues(owner, room_url)]
        vitals = Vitals(owner, room_url, lambda: self._probe(owner.bot_id))
        actors = {
            "identity": lambda: IdentityActor(cache, self.backend, self.log),
            "heartbeat": lambda: HeartbeatActor(
                vitals, self.backend, self.settings.heartbeat_interval_s, self.log
            ),
            "inbox": lambda: InboxActor(
                inbox, owner, self.backend, self._doorbell, lambda c: self._control(handle, c), self.log
            ),
        }
        cells = {
            kind: Cell(
                f"{owner.bot_id}/{kind}", factory, self.core.timers, start_timeout=policy.start_timeout
            )
            for kind, factory in actors.items()
        }
        identities = Identities(room_url, owner.instance, cache, cells["identity"].ref)
        refs = {kind: cell.ref for kind, cell in cells.items()} | {"backend": self.backend}
        bot = Bot(vitals, inbox, identities, refs, lambda reason: handle.request_stop(reason))
        handle = BotHandle(bot, vitals, self.core, [cell.name for cell in cells.values()], grace)
        infrastructure = msgspec.structs.replace(policy, restart="permanent")

        def ended(record: Record) -> None:
            if record.exhausted and record.error is not None:
                handle.fail(record.error, f"{record.name} used up its restarts")

        try:
            for cell in cells.values():
                await self.core.start(cell, infrastructure, ended)
        except BaseException:
            await self._stop_actors(owner.bot_id)
            raise
        return handle, vitals

    async def _stop_actors(self, bot_id: str) -> None:
        with anyio.CancelScope(shield=True):
            for name in reversed(self.core.names(f"{bot_id}/")):
                await self.core.stop(name, "the bot did not start")
            self._taken_ids.discard(bot_id)

    def _queues(self, owner: Owner, room_url: str) -> list[Queue]:
        pid = str(owner.pid)
        queues = [Queue("bot", owner.bot_id)]
        if pid not in (owner.bot_id, "1"):  # every container has a pid 1
            queues.append(Queue("bot", pid))
        if room_url:
            canonical = canonical_room(room_url, lower_path=self.settings.canonicalize_lower_path)
            queues += [Queue("room", room) for room in dict.fromkeys((room_url, canonical))]
            queues.append(Queue("pre-spawn", canonical))
        return queues

    def _control(self, handle: BotHandle, control: Control) -> None:
        reason = f"{control.sender or 'an operator'} sent {control.command}"
        match control.command:
            case "stop":
                handle.request_stop(reason)
            case "drain":
                handle.drain(reason)
            case "restart":
                actor = control.arguments.get("actor")
                if not self.core.restart(f"{handle.id}/{actor}"):
                    self.log.warning("admin", f"Bot {handle.id} has no actor {actor!r} to restart")

    def _probe(self, bot_id: str) -> tuple[dict[str, Any], bool]:
        prefix = f"{bot_id}/"
        names = ["backend", *self.core.names(prefix)]
        resting = [n for n in names if self.core.state(n) in (State.PARKED, State.BACKING_OFF)]
        ledger = self.core.ledger
        health = {
            "lag_ms": round(self.core.timers.take_lag_s() * 1000, 1),
            "backend": self.log.backend,
            "resting": resting,
            "restarts": ledger.restarts(prefix),
            "ledger": [msgspec.to_builtins(entry) for entry in ledger.entries(prefix)[-4:]],
            "uptime_s": round(time.monotonic() - self._began, 1),
            "cpu_s": round(time.process_time(), 2),
            "pid": os.getpid(),
        }
        return health, bool(resting)
