"""Blocking work on the spool, in a thread: what goes wrong there is said once and stops nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

from botvisor.errors import StoreError
from botvisor.logs import Log

T = TypeVar("T")


class SpoolAccess:
    """Runs functions that need the spool.

    Args:
        log: where it says that the spool cannot be used.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._trouble = ""

    async def run(self, function: Callable[[], T]) -> T | None:
        """Return what a function returns; None if the spool cannot be used."""
        try:
            result = await anyio.to_thread.run_sync(function)
        except StoreError as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                self._log.warning("client", f"The spool cannot be used: {error}")
            return None
        self._trouble = ""
        return result
