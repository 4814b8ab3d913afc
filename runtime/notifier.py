"""The notifier: tells a service manager how its service is, as sd_notify(3) has it."""

from __future__ import annotations

import contextlib
import re
import socket

from botvisor.config.service_manager import ServiceManager

_STATUS_CHARS = 200
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Notifier:
    """Sends datagrams, and never waits: what the manager cannot take now goes with the next one.

    Args:
        manager: who is told; None tells nobody.
    """

    def __init__(self, manager: ServiceManager | None) -> None:
        self.watchdog_s = manager.watchdog_s if manager is not None else 0.0
        self._address = ""
        self._socket: socket.socket | None = None
        self._unsent: dict[str, str] = {}
        self._status = ""
        self._over = False
        if manager is not None:
            name = manager.socket
            self._address = "\0" + name[1:] if name.startswith("@") else name
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(0.0)  # a manager that is slow must not block the loop

    @property
    def listened_to(self) -> bool:
        """Whether anybody wants to be told."""
        return self._socket is not None

    def ready(self) -> None:
        """Tell that the service has started."""
        self._send(READY="1")

    def alive(self) -> None:
        """Tell that the event loop turns."""
        self._send(WATCHDOG="1")

    def stopping(self) -> None:
        """Tell, once, that the service is about to end."""
        if not self._over:
            self._over = True
            self._send(STOPPING="1")

    def status(self, text: str) -> None:
        """Tell how the service is, if that has changed.

        Args:
            text: a line for people.
        """
        if text != self._status:
            self._status = text
            self._send(STATUS=_UNSAFE.sub(" ", text)[:_STATUS_CHARS])

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, **assignments: str) -> None:
        if self._socket is None:
            return
        self._unsent |= assignments
        text = "\n".join(f"{name}={value}" for name, value in self._unsent.items())
        with contextlib.suppress(OSError):
            self._socket.sendto(text.encode(), self._address)
            self._unsent = {}
