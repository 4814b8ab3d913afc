"""The bots' supervisor: one for many bots, over one backend actor."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import msgspec
from anyio.abc import TaskGroup

from botvisor.actors.backend.actor import BackendActor
from botvisor.actors.heartbeat import HeartbeatActor
from botvisor.actors.identity import IdentityActor
from botvisor.actors.inbox import InboxActor
from botvisor.actors.lane_steps import leave
from botvisor.config import Settings

from . import bot_id as ids
from .bot import Bot
from .cell import Cell
from .child import Record
from .errors import SupervisorStopped, collapse
from .handle import BotHandle, Significant, SupervisedMain
from .health import Health
from .identities import Identities, IdentityCache
from .inbox import Inbox
from .lane import Lane
from .main import Main, MainTask, takes_bot
from .restart import Policy
from .stalls import Stalls
from .storage import Storage
from .supervisor import Supervisor
from .task_child import TaskChild
from .vitals import Vitals

BACKEND_CAPACITY = 8192
_CLOSE_TIMEOUT_S = 1.0


class BotSupervisor:
    """Runs bots, and what they share: the supervisor, the backend actor and the doorbell.

    Args:
        settings: the settings of the process.
        storage: where everything is kept.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self.settings = settings
        self.log = log = storage.log
        self.outbox = storage.outbox
        self.core = Supervisor(log.event)
        self._storage = storage
        self._health = Health(self.core, storage, settings.heartbeat_interval_s)
        self.ended = anyio.Event()
        self._closed = anyio.Event()
        self._cell = Cell(
            "backend",
            lambda: BackendActor(storage.store, log),
            self.core.timers,
            capacity=BACKEND_CAPACITY,
        )
        self.backend = self._cell.ref
        self._handles: dict[str, BotHandle] = {}
        self._taken_ids: set[str] = set()
        self._stopping = False
        storage.on_mode.append(self._tell_mode)
        self._watches = settings.blocked_after_s > 0 and storage.write_aside is not None
        self.stalls = Stalls(
            settings.blocked_after_s or 1.0,
            storage,
            self.core.ledger,
            log,
            lambda: [handle.vitals for handle in list(self._handles.values())],
        )
        self._open = anyio.CancelScope()
        self._group: TaskGroup

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
                async with anyio.create_task_group() as self._group:
                    self._group.start_soon(self._serve, started)
                    await self.core.run()
        except BaseExceptionGroup as raised:
            error = collapse(raised)
        finally:
            self._stopping = True
            self._health.close()
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
            SupervisorStopped: when the supervisor is stopping.
            TypeError: when `main` cannot be called so.
            ValueError: when the id or the grace is not a valid one.
        """
        takes_bot(main)  # before anything starts
        policy = policy or Policy()
        handle = await self._start_actors(room_url, bot_id, policy, grace)
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
        self, significant: Significant, *, room_url: str, bot_id: str | None, policy: Policy, grace: float
    ) -> BotHandle:
        """Start a bot whose code is the block of an `open_bot`; the parameters are those of `start_bot`."""
        handle = await self._start_actors(room_url, bot_id, policy, grace)
        self._group.start_soon(self._conduct, handle, significant, name=f"{handle.id} conductor")
        self._runs(handle)
        return handle

    async def _serve(self, started: Callable[[], None]) -> None:
        try:
            with self._open:
                await self.core.start(self._cell, Policy())
                children = dict(self._storage.children)
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

    def _runs(self, handle: BotHandle) -> None:
        handle.vitals.running = True
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
        self, room_url: str, given_id: str | None, policy: Policy, grace: float
    ) -> BotHandle:
        if not grace >= 0:
            raise ValueError(f"grace is at least 0 seconds, not {grace}")
        if self._stopping:
            raise SupervisorStopped
        owner = await ids.acquire(given_id, self.settings, self._taken_ids, self.backend, self.log)
        inbox, cache, doorbell = Inbox(), IdentityCache(), self._storage.doorbell
        inbox.lanes = [Lane(queue) for queue in ids.queues(owner, room_url, self.settings)]
        began = time.monotonic()
        vitals = Vitals(owner, room_url, lambda: self._health.probe(owner.bot_id, began))
        actors = {
            "identity": lambda: IdentityActor(cache, self.backend, self.log),
            "heartbeat": lambda: HeartbeatActor(
                vitals, self.backend, self.settings.heartbeat_interval_s, self.log
            ),
            "inbox": lambda: InboxActor(
                inbox, owner, self.backend, doorbell, lambda control: handle.obey(control, self.log), self.log
            ),
        }
        limit_s, timers = policy.start_timeout, self.core.timers
        cells = {
            kind: Cell(f"{owner.bot_id}/{kind}", factory, timers, start_timeout=limit_s)
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

        self._handles[handle.id] = handle
        handle.at_end.append(doorbell.on_identity_changed(room_url, cache.changed))
        try:
            for cell in cells.values():
                if handle.stopping or self._stopping:
                    raise SupervisorStopped
                await self.core.start(cell, infrastructure, ended)
        except BaseException as error:
            await self._unwind(handle, error)
            for cell in cells.values():
                cell.dispose()  # those that were not even tried
            raise
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
        finally:
            self._handles.pop(handle.id, None)
            self._taken_ids.discard(handle.id)
            handle.finished.set()

    async def _close_store(self) -> None:
        with anyio.move_on_after(_CLOSE_TIMEOUT_S):
            await self._storage.aclose()
