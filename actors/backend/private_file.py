"""Files that are ours alone: never through a link, never a pipe or a device, never without a limit."""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from botvisor.errors import StoreError
from botvisor.wire import FILE_MODE

_CHUNK = 65_536
# What opening a link, a socket or a device, and a file that we may not read ends with.
_NOT_PLAIN = {errno.ELOOP, errno.ENXIO, errno.EACCES}


class UnsafeFile(StoreError):
    """A name in a private directory that is no plain file of ours: it was not opened any further.

    Args:
        path: the file.
        problem: what is wrong with it.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(path, problem)

    def __str__(self) -> str:
        return f"{self.path} {self.problem}"


class FileContent(NamedTuple):
    """What a file held.

    Args:
        raw: its bytes; empty when it is too large.
        stat: its facts, of the very file that was read.
        too_large: whether it holds more bytes than the limit.
    """

    raw: bytes
    stat: os.stat_result
    too_large: bool


def read_file(path: str, limit: int) -> FileContent | None:
    """Read a file of ours.

    Args:
        path: where it is.
        limit: at most how many bytes it may hold.

    Returns:
        What it holds, or None when there is no such file.

    Raises:
        UnsafeFile: when it is a link, a pipe, a device or another user's.
        OSError: when it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            raise UnsafeFile(path, f"cannot be opened as a plain file: {error.strerror}") from None
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFile(path, "is not a plain file")
        if found.st_uid != os.geteuid():
            raise UnsafeFile(path, f"belongs to another user (uid {found.st_uid})")
        raw = _read(fd, limit + 1) if found.st_size <= limit else b""
    finally:
        os.close(fd)
    # It may have grown since it was measured.
    too_large = found.st_size > limit or len(raw) > limit
    return FileContent(b"" if too_large else raw, found, too_large)


def write_file(path: str, raw: bytes, *, sync: bool) -> None:
    """Create a file, which must not exist, with mode 0600 whatever the umask.

    Args:
        path: where.
        raw: what it shall hold.
        sync: whether it must be on disk when this returns.

    Raises:
        OSError: when it cannot be written; it may be there in part.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, FILE_MODE)
    try:
        os.fchmod(fd, FILE_MODE)
        rest = memoryview(raw)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def _read(fd: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    while limit > 0 and (chunk := os.read(fd, min(limit, _CHUNK))):
        chunks.append(chunk)
        limit -= len(chunk)
    return b"".join(chunks)
