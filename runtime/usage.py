"""What this process uses, as the kernel counts it."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_SELF = Path("/proc/self")
_START, _THREADS = 19, 17  # fields of /proc/self/stat after the program's name, see proc(5)


class Usage(NamedTuple):
    """What the process uses; None where the system does not tell.

    Args:
        user_s: processor time in the program's own code, in seconds.
        system_s: processor time in the kernel for it, in seconds.
        voluntary_switches: how often it waited.
        involuntary_switches: how often it was made to.
        memory_bytes: resident memory.
        virtual_bytes: virtual memory.
        threads: how many threads it has.
        descriptors: how many open files it has.
        uptime_s: for how long it has run, in seconds.
    """

    user_s: float
    system_s: float
    voluntary_switches: int
    involuntary_switches: int
    memory_bytes: int | None = None
    virtual_bytes: int | None = None
    threads: int | None = None
    descriptors: int | None = None
    uptime_s: float | None = None


def read_usage() -> Usage:
    """Return what this process uses now."""
    counted = resource.getrusage(resource.RUSAGE_SELF)
    usage = Usage(counted.ru_utime, counted.ru_stime, counted.ru_nvcsw, counted.ru_nivcsw)
    try:
        virtual, resident = (int(field) * _PAGE for field in (_SELF / "statm").read_text().split()[:2])
        stat = (_SELF / "stat").read_text().rpartition(")")[2].split()
        descriptors = len(os.listdir(_SELF / "fd")) - 1  # less the one that lists them
    except (OSError, ValueError, IndexError):
        return usage  # there is no /proc here
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[_START]) / _TICKS
    return usage._replace(
        memory_bytes=resident,
        virtual_bytes=virtual,
        threads=int(stat[_THREADS]),
        descriptors=descriptors,
        uptime_s=up_s,
    )
