"""The store on files: heartbeats, identities and the spool of admin messages, without a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from botvisor.config.settings import Settings
from botvisor.errors import StoreError, StoreUnavailable
from botvisor.mending import DropMessage, ForgetBot, ListDumps, ReadFacts, RequeueMessage
from botvisor.store import (
    AcquireLease,
    Broadcast,
    BuryMessage,
    CleanUpIdentities,
    Command,
    IsKept,
    IsServed,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadPast,
    ReadReceipt,
    ReleaseLease,
    ReturnMessage,
    Sweep,
    TakeControl,
    WriteHeartbeat,
    WriteIdentity,
)

from .directory import Directory
from .file_facts import file_facts
from .heartbeat_files import HeartbeatFiles
from .identity_files import IdentityFiles
from .os_errors import unavailable
from .outbox import Outbox
from .quarantine import Notify, Quarantine
from .spool import Spool
from .stack_dump import StackDump
from .sweep import Sweeper

# Half of a command's deadline: the other half is for the batch itself.
_BUSY_LIMIT_S = 1.0


class FileStore:
    """A store on the files of this host.

    A batch costs one hop to a thread. Directories are made when they are first used.

    Args:
        settings: where the directories are, and whether rooms differ in the case of their path.
        notify: told, with a level and a text, of files that were put into quarantine or cannot be read; from
            any thread.
        beside_redis: whether somebody serves the same queues on Redis: what Redis has is left to him then.

    Attributes:
        spool: the spool, for its doorbell.
        outbox: keeps the messages that were sent from here and are to survive Redis; it has locks of its own.
    """

    def __init__(
        self, settings: Settings, notify: Notify | None = None, *, beside_redis: bool = False
    ) -> None:
        notify = notify or _ignore
        self.spool = Spool(
            settings.admin_message_dir,
            lower_path=settings.canonicalize_lower_path,
            notify=notify,
            forwarded=not beside_redis,
        )
        self.outbox = Outbox(self.spool.directory, Quarantine(self.spool.directory, notify))
        heartbeats = HeartbeatFiles(Directory(settings.heartbeat_dir), notify)
        identities = IdentityFiles(Directory(settings.identity_dir), self.spool.clock)
        views = self.spool.views
        sweeper = Sweeper(self.spool.directory, heartbeats.directory, identities.directory, self.spool.clock)
        self._heartbeats = heartbeats
        self._beside_redis = beside_redis
        self._handlers: dict[type[Command], Callable[[Any], Any]] = {
            WriteHeartbeat: heartbeats.write,
            ReadHeartbeat: heartbeats.read,
            ListHeartbeats: heartbeats.list,
            WriteIdentity: identities.write,
            ReadIdentity: identities.read,
            ListIdentities: identities.list,
            CleanUpIdentities: identities.clean_up,
            PushMessage: self._push,
            AcquireLease: self.spool.acquire,
            ReleaseLease: self.spool.release,
            NextMessage: self.spool.next,
            ReturnMessage: self.spool.put_back,
            BuryMessage: self.spool.bury,
            ReadReceipt: views.receipt,
            ListMessages: views.messages,
            ReadPast: views.past,
            RequeueMessage: self.spool.repairs.requeue,
            DropMessage: self.spool.repairs.drop,
            ListDumps: heartbeats.dumps,
            ForgetBot: heartbeats.forget,
            ReadFacts: lambda _: file_facts(settings),
            IsKept: views.is_kept,
            IsServed: self._is_served,
            Broadcast: _refuse,
            PushControl: self._push_control,
            TakeControl: self.spool.take_control,
            Sweep: lambda _: sweeper.sweep(),
        }
        self._turn = anyio.Lock(fast_acquire=True)
        self._lock = threading.Lock()
        # A cancelled batch keeps its thread until it ends; those behind it must still get one, to give up in.
        self._limiter = anyio.CapacityLimiter(4)

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch, in order, in one thread, after those that came before; see `Store`.

        A batch that is cancelled runs to its end in its thread, and the next one waits for that: for at most
        a second, then it is answered with `StoreUnavailable`.
        """
        async with self._turn:
            return await anyio.to_thread.run_sync(
                self._run, tuple(commands), abandon_on_cancel=True, limiter=self._limiter
            )

    def stack_dump(self, bot_id: str, after_s: float) -> StackDump:
        """Return the dump that a bot's event loop leaves when it stands still; see `StackDump`. Blocks."""
        return StackDump(self._heartbeats.directory, bot_id, after_s)

    def write_aside(self, commands: Sequence[Command]) -> None:
        """Carry commands out in the caller's own thread; what goes wrong is told to nobody."""
        self._run(tuple(commands))

    def close(self) -> None:
        """Let go of every lease without giving it up, as the end of the process would."""
        if self._lock.acquire(timeout=_BUSY_LIMIT_S):
            try:
                self.spool.close()
                self.outbox.close()
            finally:
                self._lock.release()

    def _push(self, command: PushMessage) -> str:
        self._check_reach(command, command.queue)
        return self.spool.push(command)

    def _push_control(self, command: PushControl) -> None:
        self._check_reach(command, Queue("bot", command.bot_id))
        self.spool.push_control(command)

    def _check_reach(self, command: PushMessage | PushControl, queue: Queue) -> None:
        anywhere = command.elsewhere or command.forwarded or not self._beside_redis
        if not anywhere and not self._is_served(IsServed(queue)):
            raise StoreUnavailable(f"nobody serves {queue} on this host")

    def _is_served(self, command: IsServed) -> bool:
        return self.spool.views.is_served(command) or self._heartbeats.is_fresh(command.queue)

    def _run(self, commands: tuple[Command, ...]) -> list[Any]:
        if not self._lock.acquire(timeout=_BUSY_LIMIT_S):
            busy = StoreUnavailable(f"the files of {self.spool.directory} are busy with an earlier batch")
            return [busy] * len(commands)
        try:
            return [self._answer(command) for command in commands]
        finally:
            self._lock.release()

    def _answer(self, command: Command) -> Any:
        try:
            return self._handlers[type(command)](command)
        except OSError as error:
            return unavailable(error)
        except Exception as error:
            return error


def _refuse(_: Broadcast) -> None:
    raise StoreError("a broadcast needs Redis: on files nobody listens for it")


def _ignore(_level: str, _text: str) -> None:
    pass
