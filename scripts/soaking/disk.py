"""A small disk of the run's own that can be filled: a tmpfs which nobody outside of the run sees.

The program starts itself again in a mount namespace of its own. The kernel unmounts what is mounted there
when the last process of the run has ended, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

SIZE_MIB = 64
_PRIVATE = "BOTVISOR_SOAK_PRIVATE_MOUNTS"
_LIMIT_S = 10.0
_CHUNK = 1 << 20
_UNSHARE = ("unshare", "--mount", "--propagation", "private")


class NoDisk(Exception):
    """A disk cannot be had here; the text says why."""


def enter_private_mounts() -> None:
    """Start this program again where its mounts are its own. Does nothing where that cannot be done."""
    if os.environ.get(_PRIVATE) or problem():
        return
    if subprocess.run([*_UNSHARE, "true"], capture_output=True, timeout=_LIMIT_S).returncode:
        return
    os.environ[_PRIVATE] = "1"
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, *sys.orig_argv[1:]])


def problem() -> str:
    """Return why no disk can be mounted, empty if one can perhaps."""
    if sys.platform != "linux":
        return "only Linux has what it takes"
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    return "" if shutil.which("unshare") else "there is no program unshare (util-linux)"


class Disk:
    """The small disk. `close` unmounts it.

    Args:
        path: the folder to mount it on.

    Raises:
        NoDisk: when it cannot be mounted.
    """

    def __init__(self, path: Path) -> None:
        if not os.environ.get(_PRIVATE):
            raise NoDisk(problem() or "this system grants no mount namespace of one's own")
        options = f"size={SIZE_MIB}m,mode=0700"
        done = _run("mount", "-t", "tmpfs", "-o", options, "soak", str(path))
        if done.returncode:
            raise NoDisk(done.stderr.strip() or "mount failed")
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(_CHUNK))
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0")  # a short write has left less than a page

    def free(self) -> None:
        """Give the bytes back."""
        self._filler.unlink(missing_ok=True)

    def close(self, keep: Path | None) -> None:
        """Unmount it.

        Args:
            keep: where to copy what is on it, or None.
        """
        self.free()
        if keep is not None:
            shutil.copytree(self.path, keep, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        _run("umount", "--lazy", str(self.path))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, stdin=subprocess.DEVNULL)
