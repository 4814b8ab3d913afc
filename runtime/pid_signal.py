"""Signals for a process that is known by its record: a stranger who has its pid by now gets none."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Literal

from . import process
from .process import Owner

Outcome = Literal["sent", "gone", "unknown", "forbidden"]


class Target:
    """A process, found by its record.

    Where the system has them it is held by a pidfd, which is taken before the process is compared with the
    record: whatever becomes of the pid later, the signal goes to the process that was compared.

    Args:
        owner: the record.

    Attributes:
        state: ``alive``; ``gone``: it has ended, whoever has its pid now; ``unknown``: it is of another boot
            or another pid namespace, or its record does not tell, so nobody here can judge.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._fd = -1
        if hasattr(os, "pidfd_open") and owner.pid > 0:
            with contextlib.suppress(OSError):  # it has ended, or the kernel has none
                self._fd = os.pidfd_open(owner.pid)
        gone = process.gone(owner) if owner.pid > 1 and owner.start_ticks else None
        self.state: Literal["alive", "gone", "unknown"] = (
            "unknown" if gone is None else "gone" if gone else "alive"
        )

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def send(self, number: signal.Signals) -> Outcome:
        """Send it a signal, if it is the process of the record and still runs.

        Args:
            number: the signal.

        Returns:
            ``sent``; or why not: ``forbidden`` when it is another user's.
        """
        if self.state != "alive":
            return self.state
        try:
            if self._fd >= 0:
                signal.pidfd_send_signal(self._fd, number)
            elif process.gone(self._owner):
                return "gone"
            else:
                os.kill(self._owner.pid, number)
        except ProcessLookupError:
            return "gone"
        except PermissionError:
            return "forbidden"
        return "sent"

    def ended_within(self, seconds: float) -> bool:
        """Wait until it has ended, in the caller's thread. Returns whether it did in time."""
        if self._fd >= 0:
            poll = select.poll()
            poll.register(self._fd, select.POLLIN)
            return bool(poll.poll(seconds * 1000))
        for _ in range(max(1, int(seconds * 20))):
            if process.gone(self._owner):
                return True
            select.select([], [], [], 0.05)
        return bool(process.gone(self._owner))
