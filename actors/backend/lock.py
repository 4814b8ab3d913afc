"""Leases as locks on files: the kernel ends them with the process, however it dies."""

# ruff: noqa: PTH108

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import weakref
from collections.abc import Iterator

import msgspec

from botvisor.errors import StoreUnavailable
from botvisor.process import Owner, gone
from botvisor.wire import FILE_MODE

from .os_errors import os_errors
from .private_file import UnsafeFile

# A lock that is held by nobody alive is a lock that changes hands this moment, or is being swept.
_SETTLE_TRIES = 5
_SETTLE_S = 0.002
_RECORD_LIMIT = 4096
_UNKNOWN = Owner(instance="", bot_id="", host="", boot_id="", pid_ns="", pid=0, start_ticks=0)
_leases: weakref.WeakSet[FileLease] = weakref.WeakSet()


class FileLease:
    """The lease of one queue: a lock on a file that tells who holds it.

    Two holders in one process conflict as two processes do. A fork does not inherit the lease.

    Args:
        path: the lock file, in a directory that is private.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.owner: Owner | None = None
        self._fd = -1
        _leases.add(self)

    def acquire(self, owner: Owner) -> Owner | None:
        """Acquire the lease, or see that it is still ours. It never waits for another holder.

        Args:
            owner: who asks; the same instance may ask again and again.

        Returns:
            None when the lease is the owner's now, otherwise who holds it: an owner with an empty instance
            when the holder cannot be read.

        Raises:
            StoreUnavailable: when the file cannot be locked.
        """
        if self.owner is not None:
            if self.owner.instance != owner.instance and self._intact():
                return self.owner
            if self.held_by(owner.instance):
                return None
            self.close()
        with os_errors(self.path):
            for tries_left in range(_SETTLE_TRIES, 0, -1):
                fd = _lock(self.path)
                if fd is not None:
                    break
                holder = _read_owner(self.path)
                if holder is not None and holder.instance == owner.instance and self._take_over(holder):
                    continue  # from a store whose event loop was closed over it
                if tries_left == 1 or (holder is not None and gone(holder) is False):
                    return holder or _UNKNOWN
                time.sleep(_SETTLE_S)
            else:
                return _UNKNOWN
            try:
                _write_owner(fd, owner)
            except BaseException:
                os.close(fd)
                raise
        self._fd, self.owner = fd, owner
        return None

    def held_by(self, instance: str) -> bool:
        """Return whether the lease is this instance's, and its file still the one that everybody locks."""
        return self.owner is not None and self.owner.instance == instance and self._intact()

    def release(self, instance: str) -> None:
        """Give the lease up and delete its file, if it is this instance's."""
        if self.owner is None or self.owner.instance != instance:
            return
        try:
            if self._intact():
                with os_errors(self.path):
                    os.unlink(self.path)
        finally:
            self.close()

    def close(self) -> None:
        """Let go as a process does that dies: the lock ends, its file stays."""
        fd, self._fd, self.owner = self._fd, -1, None
        if fd >= 0:
            os.close(fd)

    def _take_over(self, owner: Owner) -> bool:
        """Let go of what another object of this process holds for this owner. Returns whether one did."""
        others = [each for each in list(_leases) if each is not self and each.path == self.path]
        held = [other for other in others if other.held_by(owner.instance)]
        for other in held:
            other.close()
        return bool(held)

    def _intact(self) -> bool:
        return _names(self.path, self._fd)


@contextlib.contextmanager
def exclusive(path: str, wait_s: float) -> Iterator[None]:
    """Hold a directory for oneself among all who do the same.

    Args:
        path: the directory.
        wait_s: how long to wait for others, in seconds.

    Raises:
        FileNotFoundError: when the directory is missing, or was deleted meanwhile.
        StoreUnavailable: when others hold it for longer.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + wait_s
        while not _try_lock(fd):
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"{path}: another process holds it for longer than {wait_s:g} s")
            time.sleep(_SETTLE_S)
        if not _names(path, fd):
            raise FileNotFoundError(path)
        yield
    finally:
        os.close(fd)


def remove_stale(path: str) -> bool:
    """Delete a lock file that nobody holds. Returns whether it was deleted."""
    try:
        fd = _lock(path, create=False)
        if fd is None:
            return False
        try:
            os.unlink(path)
        finally:
            os.close(fd)
    except (OSError, UnsafeFile):
        return False
    return True


def unheld(path: str) -> bool:
    """Return whether nobody holds this lock file; a missing one is held by nobody."""
    try:
        fd = _lock(path, create=False)
    except FileNotFoundError:
        return True
    except (OSError, UnsafeFile):
        return False
    if fd is None:
        return False
    os.close(fd)
    return True


def _lock(path: str, *, create: bool = True) -> int | None:
    """Return a descriptor that holds the lock, or None when somebody else does."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        fd = os.open(path, flags, FILE_MODE)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise UnsafeFile(path, "is not a plain file")
            if not _try_lock(fd):
                os.close(fd)
                return None
            # Its last holder may have deleted the file between our open and our lock.
            if _names(path, fd):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except OSError:
        return False


def _write_owner(fd: int, owner: Owner) -> None:
    record = msgspec.json.encode(owner)
    os.fchmod(fd, FILE_MODE)
    os.ftruncate(fd, 0)
    os.pwrite(fd, record, 0)


def _read_owner(path: str) -> Owner | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return msgspec.json.decode(os.read(fd, _RECORD_LIMIT), type=Owner)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    finally:
        os.close(fd)


def _close_after_fork() -> None:
    # The child's copies of the descriptors would hold our locks after our own death.
    for lease in list(_leases):
        lease.close()


os.register_at_fork(after_in_child=_close_after_fork)
