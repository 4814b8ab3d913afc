"""Two ways to learn of new files in a directory: the kernel tells, or its time of change is compared."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import anyio

from .directory import Directory, Stamp

if TYPE_CHECKING:
    from inotify_simple import INotify  # type: ignore[import-untyped]

_POLL_S = 0.05
# A listing is followed by a pause 19 times as long as the processor worked on it: 5 % of a core at most.
_PAUSE_FACTOR = 19
# After a change the directory is listed at once; then again, because a second change within the grain of the
# filesystem's clock leaves no trace: 10 ms for most, two seconds for some.
_LOOKS_S = (0.0, 0.02, 2.5)
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
        """Wait until files come, for at most about `timeout_s` seconds.

        Returns:
            Their names; or None when some may have been missed, or the directory is another one now: then
            nothing more is seen by this watch.
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

        self._watched = self._directory.stamp()
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
        with anyio.move_on_after(timeout_s) as limit:
            await anyio.wait_readable(descriptor)
        if limit.cancelled_caught:
            found = await anyio.to_thread.run_sync(self._directory.stamp)
            return [] if _same(found, self._watched) else None
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
        directory: what to watch. It must exist.
        wanted: whether a name is of interest; called in a thread.
    """

    def __init__(self, directory: Directory, wanted: Callable[[str], bool]) -> None:
        self._directory = directory
        self._wanted = wanted
        self._known: set[tuple[str, int]] = set()
        self._looks: list[float] = []
        self._rested_at = 0.0
        self._closed = False
        self._limiter = anyio.CapacityLimiter(2)

    def open(self) -> None:
        """See `DirectoryWatch`."""
        self._stamp = self._directory.stamp()
        self._new_names()

    async def wait(self, timeout_s: float) -> list[str] | None:
        """See `DirectoryWatch`."""
        return await anyio.to_thread.run_sync(
            self._poll, timeout_s, abandon_on_cancel=True, limiter=self._limiter
        )

    def close(self) -> None:
        """See `DirectoryWatch`."""
        self._closed = True

    def _poll(self, timeout_s: float) -> list[str] | None:
        deadline = time.monotonic() + timeout_s
        while not self._closed:
            now = time.monotonic()
            stamp = self._directory.stamp()
            if stamp != self._stamp:
                if not _same(stamp, self._stamp):
                    return None
                self._stamp = stamp
                self._looks = [now + delay for delay in _LOOKS_S]
            if self._looks and now >= max(self._looks[0], self._rested_at):
                self._looks = [look for look in self._looks if look > now]
                if names := self._new_names():
                    return names
            if now >= deadline:
                break
            time.sleep(min(_POLL_S, deadline - now))  # an Event's timed wait costs half as much again
        return []

    def _new_names(self) -> list[str]:
        began = time.thread_time()
        present = set()
        for name in self._directory.names():
            # A name that was taken and is there again is told by its time of change.
            if self._wanted(name) and (facts := self._directory.stat(name)) is not None:
                present.add((name, facts.st_ctime_ns))
        new = sorted(name for name, _ in present - self._known)
        self._known = present
        self._rested_at = time.monotonic() + _PAUSE_FACTOR * (time.thread_time() - began)
        return new


def _same(stamp: Stamp | None, other: Stamp | None) -> bool:
    """Return whether both are of one directory."""
    return stamp is not None and other is not None and stamp[:2] == other[:2]
