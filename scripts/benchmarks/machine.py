"""The machine that something is measured on, in words, and the versions of what takes part."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path


def machine() -> str:
    """Return its kind: processor, cores, memory and system; never its name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = [f"{cores} cores of {_processor()}"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts.append(f"{memory / 2**30:.0f} GiB of memory")
    facts.append(f"{platform.system()} {platform.release().split('-')[0]}")
    return ", ".join(facts)


def versions(*distributions: str) -> dict[str, str]:
    """Return the versions of Python, of what botvisor runs on, and of others that are installed."""
    found = {platform.python_implementation(): platform.python_version()}
    for name in ("botvisor", "anyio", "redis", "hiredis", "msgspec", *distributions):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def load() -> float:
    """Return how many tasks were running or wanted to on average in the last minute."""
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    kind = platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return kind
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({kind})" if names and names[0] else kind
