"""What a service manager such as systemd tells the process it starts, by sd_notify(3)'s variables."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

_SOCKET, _USEC, _PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceManager:
    """How the service manager wants to hear of the process.

    Args:
        socket: the address of its socket: a path, or an abstract name behind an ``@``.
        watchdog_s: how long it may hear nothing before it takes the process for hung, in seconds; 0 it waits
            for ever.
    """

    socket: str
    watchdog_s: float = 0.0


def take_service_manager(environ: MutableMapping[str, str] | None = None) -> ServiceManager | None:
    """Return how the service manager wants to hear of this process, and take it out of the environment.

    Child processes would speak in this one's name otherwise; see `unset_environment` of sd_notify(3), and
    sd_watchdog_enabled(3) for whom the watchdog is meant.

    Args:
        environ: the variables; the process's own when None.

    Returns:
        None when nobody wants to hear of it, or its address cannot be used.
    """
    source = os.environ if environ is None else environ
    socket, usec, pid = (source.pop(name, "") for name in (_SOCKET, _USEC, _PID))
    if len(socket) < 2 or socket[0] not in "/@":  # a virtual machine's vsock: is no bot's business
        return None
    ours = not pid or pid == str(os.getpid())
    watchdog_s = int(usec) / 1e6 if ours and usec.isascii() and usec.isdigit() else 0.0
    return ServiceManager(socket=socket, watchdog_s=watchdog_s)
