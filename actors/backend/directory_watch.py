"""Two ways to learn of new files in a directory: the kernel tells, or its time of change is compared."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import anyio

from .directory import Directory
from .spool_index import settled

if TYPE_CHECKING:
    from inotify_simple import INotify  # type: ignore[import-untyped]

_POLL_S = 0.05
# A listing is followed by a pause 19 times as long as the processor worked on it: 5 % of a core at most.
_PAUSE_FACTOR = 19
_READ_BYTES = 65_536


class DirectoryWatch(Protocol):
    """Watches one directory."""

    def open(self) -> None:
        """Begin to watch. It may block for some milliseconds.

        Raises:
            OSError: when the system refuses.
            ImportError: when the system has nothing of this kind.
        """
        ...

    async def wait(self, timeout_s: float) -> list[str] | None:
        """Wait until files come, for at most `timeout_s` seconds.

        Returns:
            Their names; or None when some may have been missed.
        """
        ...

    def close(self) -> None:
        """Watch no longer."""
        ...


class InotifyWatch:
    """Has the Linux kernel tell of each file that was closed after writing, or renamed to its name.

    Args:
        directory: what to watch. It must exist.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._inotify: INotify | None = None

    def open(self) -> None:
        """See `DirectoryWatch`. The first time in a process it looks for the C library: 10 to 50 ms."""
        import inotify_simple

        flags = inotify_simple.flags
        arrivals = flags.CLOSE_WRITE | flags.MOVED_TO
        endings = flags.DELETE_SELF | flags.MOVE_SELF
        self._inotify = inotify_simple.INotify(nonblocking=True)
        self._inotify.add_watch(self._directory.path, arrivals | endings | flags.ONLYDIR | flags.DONT_FOLLOW)
        self._missed = endings | flags.Q_OVERFLOW | flags.IGNORED | flags.UNMOUNT
        self._parse = inotify_simple.parse_events

    async def wait(self, timeout_s: float) -> list[str] | None:
        """See `DirectoryWatch`."""
        if self._inotify is None:
            return None
        descriptor = self._inotify.fileno()
        with anyio.move_on_after(timeout_s):
            await anyio.wait_readable(descriptor)
        try:
            events = self._parse(os.read(descriptor, _READ_BYTES))
        except BlockingIOError:
            return []
        if any(event.mask & self._missed for event in events):
            return None
        return [event.name for event in events]

    def close(self) -> None:
        """See `DirectoryWatch`."""
        if self._inotify is not None:
            self._inotify.close()


class PollingWatch:
    """Compares the directory's time of change every 50 ms, and lists it when that differs.

    Args:
        directory: what to watch.
        wanted: whether a name is of interest; called in a thread.
    """

    def __init__(self, directory: Directory, wanted: Callable[[str], bool]) -> None:
        self._directory = directory
        self._wanted = wanted
        self._stamp = directory.stamp()
        self._known: set[tuple[str, int]] = set()
        self._list_at = 0.0
        self._closed = threading.Event()
        self._limiter = anyio.CapacityLimiter(1)

    def open(self) -> None:
        """See `DirectoryWatch`."""
        self._new_names()

    async def wait(self, timeout_s: float) -> list[str] | None:
        """See `DirectoryWatch`."""
        return await anyio.to_thread.run_sync(
            self._poll, timeout_s, abandon_on_cancel=True, limiter=self._limiter
        )

    def close(self) -> None:
        """See `DirectoryWatch`."""
        self._closed.set()

    def _poll(self, timeout_s: float) -> list[str]:
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._list_at:
                changed = not settled(self._stamp) or self._directory.stamp() != self._stamp
                names = self._new_names() if changed else []
                if names:
                    return names
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._closed.wait(min(left_s, _POLL_S)):
                return []

    def _new_names(self) -> list[str]:
        began = time.thread_time()
        self._stamp = self._directory.stamp()
        # A name that was taken and written again is told by the file's number.
        present = {
            (entry.name, entry.inode()) for entry in self._directory.entries() if self._wanted(entry.name)
        }
        new = sorted(name for name, _ in present - self._known)
        self._known = present
        self._list_at = time.monotonic() + _PAUSE_FACTOR * (time.thread_time() - began)
        return new
