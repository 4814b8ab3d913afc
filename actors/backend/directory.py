"""A private directory: what is in it is ours alone, and every file in it is whole or absent."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH108

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from botvisor.errors import UnsafeDirectory
from botvisor.wire import DIRECTORY_MODE, TMP_DIR

from .os_errors import os_errors
from .private_file import FileContent, UnsafeFile, read_file, write_file

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Stamp(NamedTuple):
    """Which directory it is, and when names in it last changed."""

    device: int
    inode: int
    mtime_ns: int


class Directory:
    """A directory of mode 0700 with files of mode 0600, whatever the umask.

    Errors of the operating system come out as `StoreUnavailable`, naming path and reason.

    Args:
        path: where it is; it is made on first use, with its missing parents.
        tmp: where files are written before they get their name; by default ``.tmp`` inside. It must be on
            the same filesystem.
    """

    def __init__(self, path: str | Path, *, tmp: Directory | None = None) -> None:
        self.path = os.fspath(path)
        self._tmp = tmp

    def __str__(self) -> str:
        return self.path

    def sub(self, name: str) -> Directory:
        """Return a directory inside this one; it shares this one's place for unfinished files."""
        return Directory(self.at(name), tmp=self._tmp or Directory(self.at(TMP_DIR)))

    def at(self, name: str) -> str:
        """Return the path of a name.

        Raises:
            UnsafeFile: when the name would lead out of the directory.
        """
        if "/" in name or "\0" in name or name in {"", ".", ".."}:
            raise UnsafeFile(f"{self.path}/{name!r}", "is not a plain file name")
        return f"{self.path}/{name}"

    def ready(self) -> None:
        """Make the directory if it is missing, and see that nobody else can tamper with it.

        Raises:
            UnsafeDirectory: when it is a link, belongs to another user or can be written by others.
            StoreUnavailable: when it cannot be made or looked at.
        """
        if not self.exists():
            with os_errors(self.path):
                # What is synced in it must not go with its name. One inside another is its owner's to sync.
                _make(Path(self.path), sync=self._tmp is None)
            self.exists()

    def exists(self) -> bool:
        """Return whether the directory is there, and see that nobody else can tamper with it.

        Raises:
            UnsafeDirectory: see `ready`.
            StoreUnavailable: when it cannot be looked at.
        """
        with os_errors(self.path):
            try:
                found = os.lstat(self.path)
            except FileNotFoundError:
                return False
        if stat.S_ISLNK(found.st_mode):
            raise UnsafeDirectory(
                self.path, "is a symbolic link", "remove it, or set the path it points to instead"
            )
        if not stat.S_ISDIR(found.st_mode):
            raise UnsafeDirectory(self.path, "is not a directory", "remove it, or set another path")
        if found.st_uid != os.geteuid():
            raise UnsafeDirectory(
                self.path,
                f"belongs to another user (uid {found.st_uid}, not {os.geteuid()})",
                "remove it or give it to this user with chown, or set another path",
            )
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise UnsafeDirectory(
                self.path,
                f"can be written by other users (mode {stat.S_IMODE(found.st_mode):04o})",
                f"run: chmod 700 {self.path}",
            )
        return True

    def read(self, name: str, limit: int) -> FileContent | None:
        """Read a file.

        Args:
            name: its name.
            limit: at most how many bytes it may hold.

        Returns:
            What it holds, or None when there is no such file.

        Raises:
            UnsafeFile: when it is a link, a pipe, a device or another user's.
            StoreUnavailable: when it cannot be read.
        """
        path = self.at(name)
        with os_errors(path):
            return read_file(path, limit)

    def write(self, name: str, raw: bytes, *, sync: bool = True) -> None:
        """Write a file, replacing the one of that name: readers see all of the old or all of the new.

        Args:
            name: its name.
            raw: what it shall hold.
            sync: whether it must survive a loss of power once this has returned. Costs 1 to 3 ms.

        Raises:
            UnsafeDirectory: see `ready`.
            StoreUnavailable: when it cannot be written; nothing is left behind then.
        """
        path = self.at(name)
        tmp = self._tmp or Directory(self.at(TMP_DIR))
        self.ready()
        tmp.ready()
        draft = tmp.at(secrets.token_hex(8))
        with os_errors(path):
            try:
                write_file(draft, raw, sync=sync)
                os.rename(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(draft)
                raise
            if sync:
                _sync_directory(self.path)

    def move(self, name: str, target: Directory, new_name: str) -> bool:
        """Rename a file, perhaps into another directory of the same filesystem, in one atomic step.

        Returns:
            Whether it was there to be moved.
        """
        source, goal = self.at(name), target.at(new_name)
        with os_errors(source):
            for may_make in (True, False):
                try:
                    os.rename(source, goal)
                except FileNotFoundError:
                    # Somebody else may take it while its new place is made.
                    if not os.path.lexists(source):
                        return False
                    if not may_make:
                        raise
                    target.ready()
                else:
                    break
        return True

    def remove(self, name: str) -> bool:
        """Delete a file. Returns whether it was there."""
        path = self.at(name)
        with os_errors(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
        return True

    def sync(self) -> None:
        """Have the names in the directory survive a loss of power from now on, as they are.

        Raises:
            StoreUnavailable: when that cannot be said of them.
        """
        with os_errors(self.path):
            _sync_directory(self.path)

    def stat(self, name: str) -> os.stat_result | None:
        """Return a file's facts without following links, or None when there is no such file."""
        path = self.at(name)
        with os_errors(path):
            try:
                return os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def set_times(self, name: str, *, read_ns: int, changed_ns: int) -> None:
        """Set when a file was read last, and when it was changed, in nanoseconds since the epoch.

        Nothing happens when there is no such file.
        """
        path = self.at(name)
        with os_errors(path), contextlib.suppress(FileNotFoundError):
            os.utime(path, ns=(read_ns, changed_ns), follow_symlinks=False)

    def stamp(self) -> Stamp | None:
        """Return which directory the path names now, and when it last changed; None when it is missing."""
        with os_errors(self.path):
            try:
                found = os.lstat(self.path)
            except FileNotFoundError:
                return None
        return Stamp(found.st_dev, found.st_ino, found.st_mtime_ns)

    def names(self) -> list[str]:
        """Return every name in the directory, in no order; none when it is missing."""
        with os_errors(self.path):
            try:
                return os.listdir(self.path)
            except FileNotFoundError:
                return []

    def entries(self) -> Iterator[os.DirEntry[str]]:
        """Go through what is in the directory, in no order; through nothing when it is missing."""
        with os_errors(self.path):
            try:
                entries = os.scandir(self.path)
            except FileNotFoundError:
                return
            with entries:
                yield from entries


def _make(path: Path, *, sync: bool) -> None:
    missing = [path]
    while not os.path.lexists(missing[-1].parent):
        missing.append(missing[-1].parent)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, DIRECTORY_MODE)
        except FileExistsError:
            continue
        # A umask can take bits away that we need ourselves.
        os.chmod(folder, DIRECTORY_MODE)
        if sync:
            _sync_directory(str(folder.parent))


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network filesystems cannot sync a directory: they say so with EINVAL.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)
