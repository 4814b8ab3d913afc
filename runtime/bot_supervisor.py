"""The bots' supervisor: one for many bots, over one backend actor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

from botvisor.actors.backend.actor import BackendActor
from botvisor.actors.backend.outbox_tender import OutboxTender
from botvisor.actors.lane_steps import leave
from botvisor.config import Settings

from . import bot_id as ids
from . import open_files, tasks
from .assembly import Assembly
from .cell import Cell
from .child import Record
from .errors import SupervisorStopped, collapse
from .events import ChildExhausted, ChildFailed, ChildStarted, Event
from .handle import BotHandle, Significant, SupervisedMain
from .health import PROBES, Health
from .heap import Heap
from .hooks import Hooks
from .logs import Log
from .main import Main, MainTask, takes_bot
from .probes import Probes
from .ref import Ref
from .restart import Policy
from .stalls import Stalls
from .storage import Storage
from .supervisor import Supervisor
from .task_child import TaskChild

BACKEND_CAPACITY = 8192
_CLOSE_TIMEOUT_S = 1.0


class BotSupervisor:
    """Runs bots, and what they share: the supervisor, the backend actor and the doorbell.

    Args:
        settings: the settings of the process.
        storage: where everything is kept.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings: Settings = settings
        self.log: Log = storage.log
        self.outbox: OutboxTender | None = storage.outbox
        self.store_state: Callable[[], dict[str, Any]] = storage.state
        self.core: Supervisor = Supervisor(self._note)
        self.storage: Storage = storage
        log = self.log
        self._health = Health(self.core, storage, settings.heartbeat_interval_s)
        self.ended: anyio.Event = anyio.Event()
        self._closed = anyio.Event()
        self._cell = Cell(
            "backend",
            lambda: BackendActor(storage.store, log),
            self.core.timers,
            capacity=BACKEND_CAPACITY,
            gathers=True,
        )
        self.backend: Ref[Any, Any] = self._cell.ref
        self._assembly = Assembly(
            settings=settings, storage=storage, core=self.core, backend=self.backend, health=self._health
        )
        self._handles: dict[str, BotHandle] = {}
        self.taken_ids: set[str] = set()
        self._stopping = False
        storage.on_mode.append(self._tell_mode)
        self._watches = settings.blocked_after_s > 0 and storage.write_aside is not None
        self.stalls: Stalls = Stalls(
            settings.blocked_after_s or 1.0,
            storage,
            self.core.ledger,
            log,
            lambda: [handle.vitals for handle in list(self._handles.values())],
        )
        self._probes = Probes(settings, self.core, self._health, self._handles, self._tell_mode, log)
        self._heap = Heap()
        self._open = anyio.CancelScope()
        self._group: tasks.ChildGroup

    async def run(self, started: Callable[[], None]) -> None:
        """Run until `shutdown`; a cancellation from outside does not reach the bots: shut down first.

        Args:
            started: called once bots can be started.

        Raises:
            StartFailed: when the backend or the doorbell did not start.
        """
        error: BaseException | None = None
        self._health.watch()
        try:
            with anyio.CancelScope(shield=True):
                async with tasks.ChildGroup() as self._group:
                    self._group.start_soon(self._serve, started)
                    await self.core.run()
        except BaseExceptionGroup as raised:
            error = collapse(raised)
        finally:
            self._stopping = True
            self._health.close()
            self._heap.thaw()
            self._cell.dispose()
            for handle in self._handles.values():  # asyncio may cancel a conductor before it has begun
                handle.finished.set()
            self._handles.clear()
            self._closed.set()
            self.ended.set()
        if error is not None:
            raise error

    async def shutdown(self, reason: str = "the supervisor was closed") -> None:
        """Stop every bot, all at once and each within its grace, then what they share.

        It returns even if a child is stuck (`core.stuck`); `run` does not return then.

        Args:
            reason: why, for the operators.
        """
        self._stopping = True
        while handles := list(self._handles.values()):
            for handle in handles:
                handle.request_stop(reason)
            for handle in handles:
                await handle.finished.wait()
        self._open.cancel()
        await self._closed.wait()
        if not self.core.stuck:
            await self.ended.wait()

    async def start_bot(
        self,
        main: Main,
        *,
        room_url: str = "",
        bot_id: str | None = None,
        policy: Policy | None = None,
        grace: float = 15.0,
        hooks: Hooks | None = None,
    ) -> BotHandle:
        """Start a bot, and return once its actors have started and `main` runs.

        Args:
            main: the bot's code: an async function that takes the `Bot`, or nothing.
            room_url: the room that it serves; without one it gets no room's messages.
            bot_id: its id; None takes `BOT_ID`, or makes one from the pid.
            policy: how its actors are restarted, and with `restart` set, `main` too.
            grace: how long `main` has to end when the bot is stopped, in seconds.
            hooks: what is called when something happens to the bot.

        Returns:
            The bot's handle.

        Raises:
            BotIdTaken: when a live bot elsewhere has the id that was given.
            StartFailed: when an actor did not start; what had started is stopped again.
            SupervisorStopped: when the supervisor is stopping.
            TypeError: when `main` cannot be called so.
            ValueError: when the id or the grace is not a valid one.
        """
        takes_bot(main)  # before anything starts
        policy = policy or Policy()
        handle = await self._start_actors(room_url, bot_id, policy, grace, hooks)
        task = MainTask(main, handle.bot, lambda: self._runs(handle))
        significant = SupervisedMain(task, self.core)

        def ended(record: Record) -> None:
            significant.ended(record)
            handle.main_ended()

        with anyio.CancelScope(shield=True):  # `main` runs at once: from now on only a stop ends it
            try:
                await self.core.start(task, policy, ended)
                self._group.start_soon(self._conduct, handle, significant, name=f"{handle.id} conductor")
            except BaseException as error:
                await self._unwind(handle, error)
                raise
        return handle

    async def start_block(
        self,
        significant: Significant,
        *,
        room_url: str,
        bot_id: str | None,
        policy: Policy,
        grace: float,
        hooks: Hooks | None,
    ) -> BotHandle:
        """Start a bot whose code is the block of an `open_bot`; the parameters are those of `start_bot`."""
        handle = await self._start_actors(room_url, bot_id, policy, grace, hooks)
        self._group.start_soon(self._conduct, handle, significant, name=f"{handle.id} conductor")
        self._runs(handle)
        return handle

    async def _serve(self, started: Callable[[], None]) -> None:
        try:
            with self._open:
                await self.core.start(self._cell, Policy())
                children = dict(self.storage.children)
                if self._watches:
                    children["watchdog"] = self.stalls.run
                for name, run in children.items():
                    await self.core.start(TaskChild(name, run), Policy())
                started()
                await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await self.core.shutdown("the supervisor was closed")
                await self._close_store()
                self._closed.set()

    def _tell_mode(self) -> None:
        for handle in self._handles.values():
            handle.vitals.on_change()
            handle.hooks.look()

    def _note(self, event: Event) -> None:
        if isinstance(event, ChildStarted | ChildFailed | ChildExhausted):
            handle = self._handles.get(event.child.rpartition("/")[0])
            for each in [handle] if handle is not None else self._handles.values():
                each.hooks.look()
        self.log.event(event)

    def _runs(self, handle: BotHandle) -> None:
        if not handle.vitals.running:
            handle.vitals.running = True
            self._heap.grew(len(self._handles))
            handle.hooks.tell("ready")
        handle.vitals.on_change()

    async def _conduct(self, handle: BotHandle, significant: Significant) -> None:
        try:
            await handle.conduct(significant)
        finally:
            await self._forget(handle)
        outcome = handle.outcome
        why = f" ({outcome.reason})" if outcome.reason else ""
        say = self.log.info if outcome.error is None else self.log.error
        say("supervisor", f"Bot {handle.id} ended{why}: {outcome.exit_text()}")

    async def _start_actors(
        self, room_url: str, given_id: str | None, policy: Policy, grace: float, hooks: Hooks | None
    ) -> BotHandle:
        if not grace >= 0:
            raise ValueError(f"grace is at least 0 seconds, not {grace}")
        if self._stopping:
            raise SupervisorStopped
        if self.settings.probe_port is not None and not self.core.names(PROBES):
            await self.core.start(TaskChild(PROBES, self._probes.run), Policy())
        open_files.make_room(len(self._handles) + 1)
        owner = await ids.acquire(given_id, self.settings, self.taken_ids, self.backend, self.log)
        bots, hooks = len(self._handles), hooks or Hooks()
        handle = self._assembly.new_bot(owner, room_url, policy=policy, grace=grace, hooks=hooks, bots=bots)
        self._handles[handle.id] = handle
        try:
            if handle.hooks.wanted:
                await self.core.start(TaskChild(handle.hooks.name, handle.hooks.run), Policy())
            if self._stopping:  # since before its id was acquired
                raise SupervisorStopped
            await handle.actors.start_added()
        except BaseException as error:
            await self._unwind(handle, error)
            handle.actors.dispose()
            raise
        handle.hooks.tell("started")
        return handle

    async def _unwind(self, handle: BotHandle, error: BaseException) -> None:
        handle.outcome.error = error
        with anyio.CancelScope(shield=True):
            await handle.stop_actors("it did not start")
            await self._forget(handle)

    async def _forget(self, handle: BotHandle) -> None:
        """End a bot for good: nothing of it is left, whatever became of its actors."""
        handle.bot.inbox.unsubscribe()
        while handle.at_end:
            handle.at_end.pop()()
        try:
            if not handle.bot.inbox.left:  # its actor was between two incarnations, or did not start
                await leave(handle.bot.inbox, handle.vitals.owner, self.backend, self.log)
            await handle.hooks.finish()
            await self.core.stop(handle.hooks.name, "the bot has ended")
        finally:
            self._handles.pop(handle.id, None)
            self.taken_ids.discard(handle.id)
            self._heap.shrank()
            handle.finished.set()

    async def _close_store(self) -> None:
        with anyio.move_on_after(_CLOSE_TIMEOUT_S):
            await self.storage.aclose()
