"""Receipts: the ids of the messages that were handled, an empty file for each.

Each queue has a folder, in which its receipts fill one numbered folder after the other: so the newest are
found without a look at the others, however many there are.
"""

# ruff: noqa: PTH106

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator

from botvisor.errors import StoreError
from botvisor.wire import DONE_DIR, DONE_TTL_S, id_digest

from .directory import Directory
from .os_errors import os_errors
from .steady_clock import SteadyClock

PER_FOLDER = 10_000
_FOLDER = re.compile(r"[0-9]{8}")
_BUDGET_S = 0.25  # for what has expired, in a batch that begins a folder


class Receipts:
    """The handled ids of a spool's queues.

    Only who holds a queue's lease writes its receipts. Whoever begins a folder deletes what has expired, so a
    queue has no more folders than its last two hours filled, and two.

    Args:
        spool: the spool's directory; the receipts are inside.
        clock: tells what is too old.
        per_folder: how many receipts of a queue share a folder.
    """

    def __init__(self, spool: Directory, clock: SteadyClock, *, per_folder: int = PER_FOLDER) -> None:
        self.directory = spool.sub(DONE_DIR)
        self._clock = clock
        self._per_folder = per_folder
        self._filling: dict[str, tuple[int, int]] = {}  # of a queue the newest folder, and how much is in it

    def has(self, lease: str, message_id: str) -> bool:
        """Return whether a queue's message was handled. Costs a look into each of the queue's folders."""
        receipt, paths = id_digest(message_id), [folder.path for folder in self._folders(lease)]
        with os_errors(self.directory.path):
            for path in paths:
                with contextlib.suppress(FileNotFoundError):
                    os.lstat(f"{path}/{receipt}")
                    return True
        return False

    def newest(self, lease: str) -> Iterator[str]:
        """Yield what stands for the ids of a queue's messages that were handled last.

        These are one folder's at least, if there are as many, and two folders' at most.
        """
        for folder in self._folders(lease)[:2]:
            yield from folder.names()

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
        """Delete the receipts of a queue that are too old, the oldest first, and folders that are empty then.

        Args:
            lease: what the queue is named by in file names.
            deadline: when to leave the rest for the next time, by `time.monotonic`.

        Returns:
            How many were deleted.
        """
        removed = 0
        oldest_s = self._clock.oldest_s(DONE_TTL_S)
        for folder in reversed(self._folders(lease)):
            for name in folder.names():
                if time.monotonic() > deadline:
                    return removed
                found = folder.stat(name)
                if found is not None and found.st_mtime < oldest_s:
                    removed += folder.remove(name)
            if not _remove_empty(folder):
                return removed  # those after it are younger
        _remove_empty(self.directory.sub(lease))
        return removed

    def _folder_to_fill(self, lease: str) -> Directory:
        if lease not in self._filling:
            number = max(self._numbers(lease), default=0)
            self._filling[lease] = number, len(self._folder(lease, number).names())
        number, count = self._filling[lease]
        if count >= self._per_folder:
            number += 1
            self._filling[lease] = number, 0
            with contextlib.suppress(StoreError):  # there is a next time
                self.expire(lease, time.monotonic() + _BUDGET_S)
        return self._folder(lease, number)

    def _count(self, lease: str) -> None:
        number, count = self._filling[lease]
        self._filling[lease] = number, count + 1

    def _folders(self, lease: str) -> list[Directory]:
        """Return a queue's folders, the newest first."""
        return [self._folder(lease, number) for number in sorted(self._numbers(lease), reverse=True)]

    def _numbers(self, lease: str) -> list[int]:
        return [int(name) for name in self.directory.sub(lease).names() if _FOLDER.fullmatch(name)]

    def _folder(self, lease: str, number: int) -> Directory:
        return self.directory.sub(lease).sub(f"{number:08d}")


def _remove_empty(folder: Directory) -> bool:
    try:
        os.rmdir(folder.path)
    except FileNotFoundError:
        return True
    except OSError:  # it is not empty
        return False
    return True
