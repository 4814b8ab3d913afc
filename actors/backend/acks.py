"""What was handled while Redis could not be told: a log for each bot, for whoever serves its queues next.

A line of ``{bot_id}.acks`` is one JSON object: ``v``, the queue's ``kind`` and ``key``, the claim's
``token``, the message's ``id``, and ``at_ms``, when it was handled. A line that was cut off by a crash is
passed over.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Iterable, Iterator

import msgspec

from botvisor.store import Done, Queue
from botvisor.wire import DONE_TTL_S, FILE_MODE, VERSION, acks_file

from .directory import Directory
from .os_errors import os_errors
from .private_file import UnsafeFile
from .steady_clock import SteadyClock

_SUFFIX = ".acks"
_LIMIT = 4_194_304  # bytes; one bot has at most one message in flight per queue


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """One message that was handled."""

    v: int = VERSION
    kind: str
    key: str
    token: str
    id: str
    at_ms: int

    @classmethod
    def of(cls, queue: Queue, done: Done) -> Ack:
        """Return the entry of a message that was handled just now."""
        now_ms = int(time.time() * 1000)
        return cls(kind=queue.kind, key=queue.key, token=done.token, id=done.message_id, at_ms=now_ms)

    @property
    def done(self) -> Done:
        """What a store is told."""
        return Done(self.token, self.id)

    def is_of(self, queue: Queue) -> bool:
        """Return whether it was in this queue."""
        return (self.kind, self.key) == (queue.kind, queue.key)


class Acks:
    """The logs of all bots of a host. Its methods block: call them in a thread.

    Args:
        directory: the one of admin messages.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._clock = SteadyClock(directory)

    def add(self, bot_id: str, acks: Iterable[Ack]) -> None:
        """Append to a bot's log. It is not synced: what a loss of power takes is shown again, marked.

        Raises:
            StoreUnavailable: when it cannot be written.
            UnsafeFile: when the log is no plain file of ours.
        """
        self._directory.ready()
        path = self._directory.at(acks_file(bot_id))
        # The line feed in front ends a line that a crash cut off.
        raw = b"".join(b"\n" + msgspec.json.encode(ack) for ack in acks) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os_errors(path):
            fd = os.open(path, flags, FILE_MODE)
            try:
                found = os.fstat(fd)
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                    raise UnsafeFile(path, "is not a plain file of ours")
                os.fchmod(fd, FILE_MODE)
                os.write(fd, raw)
            finally:
                os.close(fd)

    def of(self, queues: Collection[Queue]) -> list[tuple[Queue, Ack]]:
        """Return what any bot of this host left for some queues and a receipt would still be kept of.

        Raises:
            StoreUnavailable: when the directory or a log cannot be read.
        """
        if not self._directory.exists():
            return []
        names = sorted(name for name in self._directory.names() if name.endswith(_SUFFIX))
        acks = [ack for name in names for ack in self._read(name)]
        return [(queue, ack) for ack in acks for queue in queues if ack.is_of(queue)]

    def forget(self, bot_id: str, told: Collection[tuple[str, str, str]]) -> None:
        """Take out of a bot's log what Redis knows by now, and delete the log if nothing is left.

        Args:
            bot_id: a bot of this process: nobody else writes its log.
            told: kind and key of the queue, and the token.

        Raises:
            StoreUnavailable: when it cannot be written.
        """
        name = acks_file(bot_id)
        rest = [ack for ack in self._read(name) if (ack.kind, ack.key, ack.token) not in told]
        if rest:
            self._directory.write(name, b"".join(msgspec.json.encode(ack) + b"\n" for ack in rest))
        else:
            self._directory.remove(name)

    def _read(self, name: str) -> Iterator[Ack]:
        try:
            content = self._directory.read(name, _LIMIT)
        except UnsafeFile:
            return
        oldest_ms = self._clock.oldest_s(DONE_TTL_S) * 1000
        for line in content.raw.splitlines() if content is not None else ():
            try:
                ack = msgspec.json.decode(line, type=Ack)
            except (msgspec.MsgspecError, ValueError):
                continue
            if ack.at_ms > oldest_ms:
                yield ack
