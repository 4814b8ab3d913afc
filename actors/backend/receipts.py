"""Receipts: the ids of the messages that were handled, an empty file for each.

Each queue has a folder, in which its receipts fill one folder after the other, named by when it was begun: so
the newest are found, and the oldest are deleted, without a look at the others, however many there are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from botvisor.errors import StoreError
from botvisor.wire import DONE_DIR, DONE_TTL_S, id_digest

from .directory import Directory
from .os_errors import os_errors
from .steady_clock import SteadyClock

PER_FOLDER = 10_000
_FOLDER = re.compile(r"[0-9]{13}")
_DIGEST_CHARS = len(id_digest(""))
_BUDGET_S = 0.05  # for what has expired, with each tenth of a folder that is written


class Receipts:
    """The handled ids of a spool's queues.

    Only who holds a queue's lease writes its receipts, and in step with that deletes whole folders that have
    expired: a queue has no more of them than the lifetime of a receipt filled, and two.

    Args:
        spool: the spool's directory; the receipts are inside.
        clock: tells what is too old.
        per_folder: how many receipts of a queue share a folder.
    """

    def __init__(self, spool: Directory, clock: SteadyClock, *, per_folder: int = PER_FOLDER) -> None:
        self.directory = spool.sub(DONE_DIR)
        self._clock = clock
        self._per_folder = per_folder
        self._filling: dict[str, tuple[int, int]] = {}  # of a queue: its newest folder, and how much is in it

    def has(self, lease: str, message_id: str) -> bool:
        """Return whether a queue's message was handled. Costs a look into each of the queue's folders."""
        receipt, queue = id_digest(message_id), self.directory.sub(lease)
        newest_first = sorted(filter(_FOLDER.fullmatch, queue.names()), reverse=True)
        with os_errors(queue.path):
            if any(_is_there(f"{queue.path}/{folder}/{receipt}") for folder in newest_first):
                return True
            return _is_there(f"{self.directory.path}/{lease}.{receipt}")  # see `_older`

    def newest(self, lease: str) -> Iterator[str]:
        """Yield what stands for the ids of a queue's messages that were handled last.

        These are one folder's at least, if there are as many, and two folders' at most.
        """
        for folder in self._folders(lease)[:2]:
            yield from folder.names()
        yield from self._older(lease)

    def take(self, lease: str, message_id: str, source: Directory, name: str) -> bool:
        """Turn a message's file into its receipt: in one step it leaves its queue and its id is recorded.

        The rename is not synced: after a loss of power the message is still in flight, or doubtful.

        Returns:
            Whether the file was there.
        """
        folder, receipt = self._folder_to_fill(lease), id_digest(message_id)
        if not source.move(name, folder, receipt):
            return False
        self._count(lease)
        with contextlib.suppress(OSError):  # the message is gone from its queue, which is what counts
            os.truncate(folder.at(receipt), 0)
        return True

    def add(self, lease: str, message_id: str) -> None:
        """Record the id of a message whose file is not in flight here any more."""
        if not self.has(lease, message_id):
            self._folder_to_fill(lease).write(id_digest(message_id), b"", sync=False)
            self._count(lease)

    def forget(self, lease: str) -> None:
        """Note that somebody else may write a queue's receipts from now on."""
        self._filling.pop(lease, None)

    def expire(self, lease: str, deadline: float) -> int:
        """Delete a queue's folders whose receipts are all too old.

        Args:
            lease: what the queue is named by in file names.
            deadline: when to leave the rest for the next time, by `time.monotonic`.

        Returns:
            How many receipts were deleted.
        """
        removed, oldest_ms = 0, self._clock.oldest_s(DONE_TTL_S) * 1000
        begun = sorted(self._begun(lease))
        for begun_ms, next_ms in itertools.pairwise(begun):
            if next_ms >= oldest_ms:
                break
            folder = self._folder(lease, begun_ms)
            for name in folder.names():
                if time.monotonic() > deadline:
                    return removed
                removed += folder.remove(name)
            _remove_empty(folder)
        return removed

    def expire_last(self, lease: str, deadline: float) -> int:
        """Delete what is too old in a queue's newest folder, which nobody may fill any more; see `expire`."""
        removed, oldest_s = 0, self._clock.oldest_s(DONE_TTL_S)
        for folder in self._folders(lease)[:1]:
            for name in folder.names():
                if time.monotonic() > deadline:
                    return removed
                found = folder.stat(name)
                if found is not None and found.st_mtime < oldest_s:
                    removed += folder.remove(name)
            _remove_empty(folder)
        _remove_empty(self.directory.sub(lease))
        return removed

    def _older(self, lease: str) -> Iterator[str]:
        """Yield what versions from before 2026-11-30 wrote, all in one folder: ``LEASE.DIGEST``.

        It expires, by the sweep, within two hours of the last such process.
        """
        for name in self.directory.names():
            key, _, receipt = name.rpartition(".")
            if key == lease and len(receipt) == _DIGEST_CHARS:
                yield receipt

    def _folder_to_fill(self, lease: str) -> Directory:
        if lease not in self._filling:
            newest_ms = max(self._begun(lease), default=_now_ms())
            self._filling[lease] = newest_ms, len(self._folder(lease, newest_ms).names())
        begun_ms, count = self._filling[lease]
        if count >= self._per_folder:
            begun_ms = max(begun_ms + 1, _now_ms())  # whatever the clock is set to
            self._filling[lease] = begun_ms, 0
        return self._folder(lease, begun_ms)

    def _count(self, lease: str) -> None:
        begun_ms, count = self._filling[lease]
        self._filling[lease] = begun_ms, count + 1
        if count % max(1, self._per_folder // 10) == 0:
            with contextlib.suppress(StoreError):  # there is a next time
                self.expire(lease, time.monotonic() + _BUDGET_S)

    def _folders(self, lease: str) -> list[Directory]:
        """Return a queue's folders, the newest first."""
        return [self._folder(lease, begun_ms) for begun_ms in sorted(self._begun(lease), reverse=True)]

    def _begun(self, lease: str) -> list[int]:
        return [int(name) for name in self.directory.sub(lease).names() if _FOLDER.fullmatch(name)]

    def _folder(self, lease: str, begun_ms: int) -> Directory:
        return self.directory.sub(lease).sub(f"{begun_ms:013d}")


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _now_ms() -> int:
    return int(time.time() * 1000)


def _remove_empty(folder: Directory) -> None:
    with contextlib.suppress(OSError):  # it is not empty
        Path(folder.path).rmdir()
