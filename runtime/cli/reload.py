"""Development: a command is started again when the code it runs changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from .output import complain

_LOOK_S = 0.3
_IGNORED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"})
_SUFFIX = ".py"

Snapshot = Mapping[str, int]
"""When each file was changed, in nanoseconds, by its path."""


def snapshot(folder: Path) -> dict[str, int]:
    """Return when each Python file below a folder was changed, hidden folders and environments apart."""
    return dict(_files(folder))


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Return the paths of the files that were changed, are new, or are gone; sorted."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def run_again_and_again(folder: Path) -> int:
    """Run this process's command without ``--reload``, and again with each change, until a signal comes.

    Args:
        folder: where changes are looked for.

    Returns:
        The command's exit code.
    """
    stopped: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopped.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    arguments = [each for each in sys.argv[1:] if each != "--reload"]
    child: subprocess.Popen[bytes] | None = None
    while True:
        seen = snapshot(folder)
        child = subprocess.Popen([sys.executable, "-m", "botvisor", *arguments])  # noqa: S603 - our own command line
        changed = _watch(folder, seen, child, stopped)
        if stopped:
            # At a terminal Ctrl-C has reached it already, and a second one would end it at once.
            if stopped[0] != signal.SIGINT or not sys.stdin.isatty():
                _tell(child, signal.Signals(stopped[0]))
            return _code(child.wait())
        complain(f"{os.path.relpath(changed[0], folder)} has changed: starting again")
        _tell(child, signal.SIGTERM)
        child.wait()


def _watch(folder: Path, seen: Snapshot, child: subprocess.Popen[bytes], stopped: list[int]) -> list[str]:
    """Wait for a signal or a change; returns what has changed."""
    told = False
    while not stopped:
        if not told and child.poll() is not None:
            told = True
            complain(f"it has ended with {_code(child.returncode)}: waiting for a change")
        changed = difference(seen, snapshot(folder))
        if changed:
            return changed
        time.sleep(_LOOK_S)
    return []


def _tell(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if child.poll() is None:
        child.send_signal(number)


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def _files(folder: Path | str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in _IGNORED:
                    yield from _files(entry.path)
            elif entry.name.endswith(_SUFFIX):
                yield entry.path, entry.stat().st_mtime_ns
        except OSError:
            continue  # it went meanwhile
