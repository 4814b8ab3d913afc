"""The spool: queues of admin messages, and control objects, as files of one directory.

A message waits as a file of its queue's prefix, is in flight in ``.claim/``, and leaves a receipt in
``.done/``; every step between is one rename. `ServedQueue` has the consumer's side, `SpoolViews`
what operators see, this file the rest.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from botvisor.errors import LeaseLost, StoreError
from botvisor.process import Owner, host
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Claim,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReleaseLease,
    ReturnMessage,
    TakeControl,
)
from botvisor.wire import CONTROL_TTL_S, MAX_MESSAGE_BYTES, control_prefix

from .dead_letters import DeadLetters
from .directory import Directory
from .private_file import UnsafeFile
from .quarantine import Notify, Quarantine
from .receipts import Receipts
from .served_queue import ServedQueue, SpoolParts
from .spool_index import SpoolIndex
from .spool_names import Place, forwarded_name, is_alias, new_name, place_of
from .spool_repairs import SpoolRepairs
from .spool_views import SpoolViews
from .steady_clock import SteadyClock


class Spool:
    """The spool of a host.

    A room has one queue however its URL is written: asked for by another form than the canonical one it is an
    empty queue that anybody may lease, so that an inbox can serve both forms of every store alike; what is
    sent to that form goes to the canonical one.

    Args:
        path: its directory.
        lower_path: whether room URLs differ in more than the case of their path.
        notify: told of files that were put into quarantine.
        forwarded: whether to serve messages that Redis has, too: not beside somebody who serves them there.

    Attributes:
        directory: its directory.
        clock: tells what in it is too old.
        index: what waits in it for the queues we serve.
        views: what can be seen of its queues without taking anything.
        repairs: what operators mend in them.
        notify: as given.
    """

    def __init__(self, path: Path, *, lower_path: bool, notify: Notify, forwarded: bool = True) -> None:
        self.directory = Directory(path)
        self.clock = SteadyClock(self.directory)
        self.index = SpoolIndex(self.directory, forwarded=forwarded)
        self.notify = notify
        self._lower_path = lower_path
        self._parts = SpoolParts(
            self.directory,
            self.index,
            Receipts(self.directory, self.clock),
            DeadLetters(self.directory),
            Quarantine(self.directory, notify),
        )
        self.views = SpoolViews(self._parts, lower_path=lower_path)
        self.repairs = SpoolRepairs(self._parts, lower_path=lower_path, write=self._write)
        self._served: dict[str, ServedQueue] = {}
        self._sequence = itertools.count()

    def prefix(self, target: Queue | str) -> str | None:
        """Return how the names of the files begin that come for a queue, or for a bot's control (its id).

        Returns:
            The prefix, or None for a queue that is always empty.
        """
        if isinstance(target, str):
            return control_prefix(target)
        return None if self._is_alias(target) else self._place(target).prefix

    def close(self) -> None:
        """Let go of all leases, as a process does that dies."""
        while self._served:
            self._served.popitem()[1].close()

    def acquire(self, command: AcquireLease) -> Owner | None:
        """See `AcquireLease`."""
        if self._is_alias(command.queue):
            return None
        self.directory.ready()
        place = self._place(command.queue)
        served = self._served.get(place.lease) or ServedQueue(command.queue, place, self._parts)
        holder = served.acquire(command.owner)
        if holder is None:
            self._served[place.lease] = served
            self._serve_control(command.queue)
        return holder

    def release(self, command: ReleaseLease) -> None:
        """See `ReleaseLease`."""
        place = self._place(command.queue)
        served = self._served.get(place.lease)
        if served is None or self._is_alias(command.queue) or not served.release(command.instance):
            return
        del self._served[place.lease]
        if command.queue.kind == "bot":
            self.index.forget(control_prefix(command.queue.key))

    def next(self, command: NextMessage) -> Claim | None:
        """See `NextMessage`."""
        if self._is_alias(command.queue):
            return None
        served = self._held(command.queue)
        return served.next(command.instance, command.attempt, command.done, take=command.take)

    def put_back(self, command: ReturnMessage) -> None:
        """See `ReturnMessage`."""
        if not self._is_alias(command.queue):
            self._held(command.queue).put_back(command.instance, command.token)

    def bury(self, command: BuryMessage) -> None:
        """See `BuryMessage`."""
        if not self._is_alias(command.queue):
            served = self._held(command.queue)
            served.bury(command.instance, command.token, command.reason, malformed=command.malformed)

    def push(self, command: PushMessage) -> str:
        """See `PushMessage`.

        Raises:
            StoreError: when the message is too large.
            StoreUnavailable: when it is not safely on disk.
        """
        size = len(command.raw)
        if size > MAX_MESSAGE_BYTES:
            raise StoreError(f"the message has {size} bytes, more than {MAX_MESSAGE_BYTES}")
        prefix = self._place(command.queue).prefix
        self._write(prefix, command.message_id, command.raw, forwarded=command.forwarded)
        return f"spool@{host()}"

    def push_control(self, command: PushControl) -> None:
        """See `PushControl`."""
        prefix = control_prefix(command.bot_id)
        self._write(prefix, command.control_id, command.raw, forwarded=command.forwarded)

    def take_control(self, command: TakeControl) -> list[bytes]:
        """See `TakeControl`: what is older than `CONTROL_TTL_S` is dropped."""
        prefix = self._serve_control(Queue("bot", command.bot_id))
        taken = []
        while (name := self.index.first(prefix)) is not None:
            try:
                found = self.directory.read(name, MAX_MESSAGE_BYTES)
                if self.directory.remove(name) and found is not None and _young(found.stat, CONTROL_TTL_S):
                    taken.append(found.raw)
            except UnsafeFile as error:
                self._parts.quarantine.put(self.directory, name, str(error))
            self.index.drop(prefix, name)
        return taken

    def _serve_control(self, queue: Queue) -> str:
        # Together with the lease: a directory that must be listed is listed once for both.
        prefix = control_prefix(queue.key)
        if queue.kind == "bot" and not self.index.serves(prefix):
            self.index.serve(prefix)
        return prefix

    def _place(self, queue: Queue) -> Place:
        return place_of(queue, lower_path=self._lower_path)

    def _is_alias(self, queue: Queue) -> bool:
        return is_alias(queue, lower_path=self._lower_path)

    def _held(self, queue: Queue) -> ServedQueue:
        served = self._served.get(self._place(queue).lease)
        if served is None:
            raise LeaseLost(str(queue))
        return served

    def _write(self, prefix: str, known_by: str, raw: bytes, *, forwarded: bool = False) -> None:
        name = new_name(prefix, known_by, int(time.time() * 1000), next(self._sequence) % 1_000_000)
        name = forwarded_name(name) if forwarded else name
        # What Redis has as well need not survive a loss of power here.
        self.directory.write(name, raw, sync=not forwarded)
        if self.index.serves(prefix):
            self.index.note(name)


def _young(found: os.stat_result, limit_s: float) -> bool:
    # By the clock as it is: what an operator wanted before it was set, or before a boot, may be long ago.
    return time.time() - found.st_mtime < limit_s
