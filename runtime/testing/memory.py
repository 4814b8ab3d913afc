"""A store in memory: for tests of bots, with faults on demand."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from botvisor.errors import MalformedMessage, StoreError
from botvisor.heartbeat import Heartbeat, from_hash
from botvisor.identity import Identity
from botvisor.liveness import ENDED
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
from botvisor.wire import CONTROL_TTL_S, EPITAPH_TTL_S, HEARTBEAT_TTL_S, IDENTITY_TTL_S, MAX_MESSAGE_BYTES

from .memory_queues import MemoryQueue


class MemoryStore:
    """A store that holds everything in this object, for tests: no files, no server, no threads.

    It does what every store does, with leases that end after 30 s and data that expires, by a clock of its
    own; so a test in virtual time sees all of that in milliseconds.

    Args:
        clock: the time in seconds, from any start; by default the event loop's.
    """

    def __init__(self, clock: Callable[[], float] = anyio.current_time) -> None:
        self._clock = clock
        self._error: Exception | None = None
        self._delay_s = 0.0
        self._hung = False
        self._released: anyio.Event | None = None
        self._heartbeats: dict[str, tuple[float, dict[str, bytes]]] = {}
        self._identities: dict[tuple[str, str], tuple[float, Identity]] = {}
        self._controls: dict[str, list[tuple[float, bytes]]] = {}
        self._queues: dict[Queue, MemoryQueue] = {}
        self._bells: list[Callable[[Queue | str], None]] = []
        self._listeners: dict[object, Callable[[bytes], None]] = {}

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch; see `Store`."""
        await anyio.sleep(self._delay_s)
        while self._hung:
            self._released = self._released or anyio.Event()
            await self._released.wait()
        if self._error is not None:
            return [self._error] * len(commands)
        return [self._answer(command) for command in commands]

    def fail_with(self, error: Exception | None) -> None:
        """Answer every command with an error from now on.

        Args:
            error: the error, such as ``StoreUnavailable("no disk")``; None ends it.
        """
        self._error = error

    def hang(self) -> None:
        """Answer nothing from now on, until `heal`."""
        self._hung = True

    def slow(self, seconds: float) -> None:
        """Let every batch take so long from now on; 0 ends it."""
        self._delay_s = seconds

    def heal(self) -> None:
        """End every fault: what hangs is carried out now."""
        self._error, self._delay_s, self._hung = None, 0.0, False
        if self._released is not None:
            self._released.set()
            self._released = None

    def queue(self, queue: Queue) -> MemoryQueue:
        """Return a queue, to look inside."""
        if queue not in self._queues:
            self._queues[queue] = MemoryQueue(queue)
        return self._queues[queue]

    def on_arrival(self, bell: Callable[[Queue | str], None]) -> None:
        """Call `bell` with a queue, or a bot's id, whenever something comes for it."""
        self._bells.append(bell)

    def on_broadcast(self, receive: Callable[[bytes], None]) -> Callable[[], None]:
        """Hand every broadcast over. Returns a function that ends it."""
        key = object()
        self._listeners[key] = receive
        return lambda: self._listeners.pop(key, None) and None

    def _answer(self, command: Command) -> Any:
        try:
            return self._carry_out(command, self._clock())
        except Exception as error:
            return error

    def _carry_out(self, command: Command, now: float) -> Any:
        match command:
            case WriteHeartbeat():
                self._heartbeats[command.bot_id] = (now, command.fields)
                return None
            case ReadHeartbeat(bot_id, living):
                found = _read(self._heartbeats.get(bot_id))
                if living and found is not None:
                    fresh = now - self._heartbeats[bot_id][0] <= HEARTBEAT_TTL_S
                    return found if fresh and found.status not in ENDED else None
                return found
            case ListHeartbeats():
                beats = [_read(self._heartbeats[bot_id]) for bot_id in sorted(self._heartbeats)]
                return [beat for beat in beats if beat is not None]
            case PushControl():
                self._controls.setdefault(command.bot_id, []).append((now, command.raw))
                return self._ring(command.bot_id)
            case TakeControl():
                taken = self._controls.pop(command.bot_id, [])
                return [raw for at, raw in taken if now - at < CONTROL_TTL_S]
            case Sweep():
                return self._sweep(now)
            case ForgetBot(bot_id, instance):
                beat = _read(self._heartbeats.get(bot_id))
                if beat is None or beat.instance != instance:
                    return False
                return self._heartbeats.pop(bot_id) is not None
            case ListDumps():
                return []
            case ReadFacts():
                return {"kind": "memory"}
            case Broadcast(raw):
                for receive in self._listeners.values():
                    receive(raw)
                return len(self._listeners)
            case WriteIdentity() | ReadIdentity() | ListIdentities() | CleanUpIdentities():
                return self._identity(command, now)
        return self._message(command, now)

    def _identity(
        self, command: WriteIdentity | ReadIdentity | ListIdentities | CleanUpIdentities, now: float
    ) -> Any:
        match command:
            case WriteIdentity(identity=identity):
                key = (identity.room_url, identity.participant_id)
                _, last = self._identities.get(key, (0.0, identity))
                if (last.updated_ms, last.writer) <= (identity.updated_ms, identity.writer):
                    age_s = max(0.0, time.time() - identity.updated_ms / 1000) if identity.updated_ms else 0.0
                    self._identities[key] = (now + IDENTITY_TTL_S - age_s, identity)
                return None
            case ReadIdentity():
                found = self._identities.get((command.room_url, command.participant_id))
                return found[1] if found is not None and found[0] > now else None
            case ListIdentities(room_url=room):
                stored = [self._identities[key] for key in sorted(self._identities) if key[0] == room]
                return [identity for expires, identity in stored if expires > now]
            case CleanUpIdentities(room_url=room):
                return self._expire_identities(now, lambda key: key[0] == room)

    def _message(self, command: Command, now: float) -> Any:
        match command:
            case PushMessage():
                size = len(command.raw)
                if size > MAX_MESSAGE_BYTES:
                    raise StoreError(f"the message has {size} bytes, more than {MAX_MESSAGE_BYTES}")
                self.queue(command.queue).push(command, now)
                self._ring(command.queue)
                return "memory"
            case AcquireLease():
                return self.queue(command.queue).acquire(command, now)
            case ReleaseLease():
                return self.queue(command.queue).release(command)
            case NextMessage():
                return self.queue(command.queue).next(command, now)
            case ReturnMessage():
                if self.queue(command.queue).put_back(command, now):
                    self._ring(command.queue)
                return None
            case BuryMessage():
                return self.queue(command.queue).bury(command, now)
            case ReadReceipt():
                return self.queue(command.queue).receipt(command.message_id)
            case IsKept():
                return self.queue(command.queue).receipt(command.message_id) != "unknown"
            case IsServed(queue):
                at, fields = self._heartbeats.get(queue.key, (-math.inf, {}))
                beats = now - at < HEARTBEAT_TTL_S and fields.get("status") != b"stopped"
                return self.queue(queue).is_leased(now) or (queue.kind == "bot" and beats)
            case ReadPast():
                return self.queue(command.queue).past(command)
            case ListMessages():
                return self.queue(command.queue).messages()
            case RequeueMessage():
                requeued = self.queue(command.queue).requeue(command, now)
                if requeued:
                    self._ring(command.queue)
                return requeued
            case DropMessage():
                return self.queue(command.queue).drop(command)
        raise TypeError(f"MemoryStore does not know {type(command).__name__}")

    def _expire_identities(self, now: float, chosen: Callable[[tuple[str, str]], bool]) -> int:
        over = [key for key, (expires, _) in self._identities.items() if expires <= now and chosen(key)]
        for key in over:
            del self._identities[key]
        return len(over)

    def _sweep(self, now: float) -> int:
        removed = sum(queue.sweep(now) for queue in self._queues.values())
        removed += self._expire_identities(now, lambda _: True)
        for bot_id in [key for key, (at, _) in self._heartbeats.items() if now - at > EPITAPH_TTL_S]:
            del self._heartbeats[bot_id]
            removed += 1
        for bot_id, waiting in list(self._controls.items()):
            kept = [(at, raw) for at, raw in waiting if now - at < CONTROL_TTL_S]
            removed += len(waiting) - len(kept)
            self._controls[bot_id] = kept
        return removed

    def _ring(self, target: Queue | str) -> None:
        for bell in self._bells:
            bell(target)


def _read(stored: tuple[float, dict[str, bytes]] | None) -> Heartbeat | None:
    if stored is None:
        return None
    try:
        return from_hash(stored[1])
    except MalformedMessage:
        return None
