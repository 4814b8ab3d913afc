"""SIGTERM and SIGINT: the first one stops the bot in order, a second one ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from . import tasks

WATCHED = (signal.SIGTERM, signal.SIGINT)


class SignalWatch:
    """What has been heard so far."""

    def __init__(self) -> None:
        self.first: signal.Signals | None = None
        self.installed = False

    def replaced(self) -> list[str]:
        """Return the signals whose handlers somebody else has put in the place of ours."""
        if not self.installed:
            return []
        return [number.name for number in WATCHED if signal.getsignal(number) != self._handle]

    @contextmanager
    def watch(self, on_first: Callable[[signal.Signals], None]) -> Iterator[None]:
        """Handle both signals inside the block. Does nothing outside of the main thread.

        The handlers are Python's own, not the event loop's: they work while the loop is blocked, too.

        Args:
            on_first: called on the event loop when the first signal comes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._wake = tasks.waker()
        self._on_first = on_first
        before = {number: signal.signal(number, self._handle) for number in WATCHED}
        self.installed = True
        try:
            yield
        finally:
            self.installed = False
            for number, handler in before.items():
                if signal.getsignal(number) == self._handle:
                    # One that was not set from Python cannot be put back.
                    signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.first is not None:
            os._exit(128 + number)
        self.first = signal.Signals(number)
        self._wake(self._on_first, self.first)
