"""Complaints: what somebody must set right, each said once."""

from __future__ import annotations

import math
from collections.abc import Callable

from botvisor.logs import Log

from .redis_errors import Diagnosis

AGAIN_S = 300.0  # after so long without it, a complaint is a new one


class Complaints:
    """Remembers when each was last due.

    Args:
        log: where they are written.
        clock: in seconds.
    """

    def __init__(self, log: Log, clock: Callable[[], float]) -> None:
        self._log = log
        self._clock = clock
        self._last: dict[str, float] = {}

    def about(self, diagnosis: Diagnosis) -> None:
        """Complain, if there is a remedy and it was not said lately."""
        if not diagnosis.remedy:
            return
        now = self._clock()
        last = self._last.get(diagnosis.remedy, -math.inf)
        self._last[diagnosis.remedy] = now
        if now - last > AGAIN_S:
            self._log.error("client", f"Redis cannot be used: {diagnosis}")
