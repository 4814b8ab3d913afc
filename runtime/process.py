"""Who this process is, told so that another process can judge whether it still lives."""

from __future__ import annotations

import functools
import os
import socket
import uuid
from pathlib import Path

import msgspec

_PROC = Path("/proc")


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lease, or whose heartbeat it is.

    Args:
        instance: unique to one start of one bot.
        bot_id: the bot's id.
        host: the host's name.
        boot_id: the kernel's boot id; empty where the system has none.
        pid_ns: the pid namespace, such as ``pid:[4026531836]``; empty where there is none.
        pid: the process id inside that namespace.
        start_ticks: when the process started, in clock ticks since boot (proc(5), field 22); tells a
            process from a later one with the same pid.
        v: the version of this object.
    """

    instance: str
    bot_id: str
    host: str
    boot_id: str
    pid_ns: str
    pid: int
    start_ticks: int
    v: int = 1

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (bot {self.bot_id}, instance {self.instance})"

    def beside(self, other: Owner) -> bool:
        """Return whether both are of one process, as far as their records can tell."""
        mine, others = (
            (each.host, each.boot_id, each.pid_ns, each.pid, each.start_ticks) for each in (self, other)
        )
        return mine == others


def own(bot_id: str, instance: str) -> Owner:
    """Return the owner record of a bot that runs in this process."""
    pid = os.getpid()
    namespace, ticks = _marks_of(pid)
    return Owner(
        instance=instance,
        bot_id=bot_id,
        host=host(),
        boot_id=boot_id(),
        pid_ns=namespace,
        pid=pid,
        start_ticks=ticks,
    )


def gone(owner: Owner) -> bool | None:
    """Return whether the owner's process has ended: None when that cannot be judged from here.

    Only a record of this boot and this pid namespace can be judged: elsewhere the same pid is somebody else.
    """
    if not owner.boot_id or owner.boot_id != boot_id():
        return None
    if owner.pid == os.getpid() and (owner.pid_ns, owner.start_ticks) == _marks_of(owner.pid):
        return False  # asked by each of a process's bots, about the one that serves the pid's queue
    if owner.pid_ns != pid_namespace():
        return None
    return start_ticks(owner.pid) != owner.start_ticks


@functools.lru_cache(maxsize=1)
def _marks_of(own_pid: int) -> tuple[str, int]:
    """Return what tells this process from others with its pid: a fork has another one."""
    return pid_namespace(), start_ticks(own_pid) or 0


def new_instance() -> str:
    """Return a fresh instance name: 16 hexadecimal digits."""
    return uuid.uuid4().hex[:16]


@functools.cache
def host() -> str:
    """Return this host's name."""
    return socket.gethostname()


@functools.cache
def boot_id() -> str:
    """Return the kernel's boot id, or an empty string where the system has none."""
    return _read(_PROC / "sys/kernel/random/boot_id")


def pid_namespace() -> str:
    """Return this process's pid namespace, or an empty string where the system has none."""
    try:
        return os.readlink(_PROC / "self/ns/pid")  # noqa: PTH115 - not a path: "pid:[4026531836]"
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot: None when there is no such process.

    A zombie counts as gone: it runs no more and holds nothing.
    """
    stat = _read(_PROC / str(pid) / "stat")
    # The command may hold spaces and parentheses: the fields are counted from the last one.
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or fields[0] in "ZX":
        return None
    return int(fields[19])


@functools.cache
def boot_time_s() -> float:
    """Return when this machine booted, in seconds since the epoch; 0 where the system does not tell."""
    for line in _read(_PROC / "stat").splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0


def started_at_s(ticks: int) -> float:
    """Return when a process of this boot started, in seconds since the epoch.

    Args:
        ticks: its `start_ticks`.
    """
    return boot_time_s() + ticks / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
