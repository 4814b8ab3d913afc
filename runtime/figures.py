"""The figures of this process: memory, processor time, throttling by its cgroup, pauses for garbage."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import Any

_READ_AGAIN_S = 1.0  # all bots of a process beat in one moment
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")
_CGROUP = Path("/proc/self/cgroup")
_CGROUPS = Path("/sys/fs/cgroup")


class Figures:
    """Reads them, at most once a second.

    Garbage is timed from the first `watch` on, until `close`.
    """

    def __init__(self) -> None:
        self._read_at = -_READ_AGAIN_S
        self._figures: dict[str, Any] = {}
        self._began = 0.0
        self._longest_s = 0.0
        self._stat = _cpu_stat()

    def watch(self) -> None:
        """Time the garbage collector from now on."""
        gc.callbacks.append(self._collect)

    def close(self) -> None:
        """Time it no longer."""
        if self._collect in gc.callbacks:
            gc.callbacks.remove(self._collect)

    def read(self) -> dict[str, Any]:
        """Return the figures.

        Returns:
            ``pid``; ``rss_mb``: resident memory; ``cpu_s``: processor time since the start; ``throttled_s``:
            how long the cgroup kept the process from running (left out where there is no such limit);
            ``gc_pause_ms``: the longest pause for garbage since the start.
        """
        now = time.monotonic()
        if now - self._read_at >= _READ_AGAIN_S:
            self._read_at = now
            self._figures = {
                "pid": os.getpid(),
                "rss_mb": _rss_mb(),
                "cpu_s": round(time.process_time(), 2),
                "gc_pause_ms": round(self._longest_s * 1000, 1),
            }
            throttled_s = _throttled_s(self._stat)
            if throttled_s is not None:
                self._figures["throttled_s"] = throttled_s
        return dict(self._figures)

    def _collect(self, phase: str, _info: dict[str, int]) -> None:
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        else:
            self._longest_s = max(self._longest_s, now - self._began)


def _rss_mb() -> float | None:
    try:
        return round(int(_STATM.read_text().split()[1]) * _PAGE / 1_048_576, 1)
    except (OSError, ValueError, IndexError):
        return None


def _cpu_stat() -> Path | None:
    """Return the file in which the process's cgroup tells of its processor time; None if there is none."""
    try:
        lines = [line.split(":", 2) for line in _CGROUP.read_text().splitlines()]
    except OSError:
        return None
    for _, controllers, path in (line for line in lines if len(line) == 3):
        # One hierarchy has no controllers in its name (cgroups(7), version 2); in version 1 each has its own.
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in (_CGROUPS / controllers / path.lstrip("/"), _CGROUPS / controllers, _CGROUPS):
            if (folder / "cpu.stat").is_file():
                return folder / "cpu.stat"
    return None


def _throttled_s(stat: Path | None) -> float | None:
    try:
        text = stat.read_text() if stat is not None else ""
    except OSError:
        return None
    facts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    if "throttled_usec" in facts:
        return round(int(facts["throttled_usec"]) / 1e6, 2)
    return round(int(facts["throttled_time"]) / 1e9, 2) if "throttled_time" in facts else None
