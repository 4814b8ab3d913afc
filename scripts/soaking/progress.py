"""How a run tells of itself meanwhile, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import importlib.util
import sys
import time
from types import TracebackType
from typing import Any

PLAIN_EVERY_S = 10.0


class Progress:
    """Tells of a run. Use it in a `with`.

    Args:
        seconds: for how long faults strike.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._bar: Any = None
        self._task: Any = None
        self._told_at = time.monotonic()

    def __enter__(self) -> Progress:
        if sys.stderr.isatty() and importlib.util.find_spec("rich") is not None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            columns = (TimeElapsedColumn(), BarColumn(), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task("", total=self._seconds)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Tell what has just happened."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def advance(self, elapsed: float, accepted: int, handled: int) -> None:
        """Tell how far it is."""
        text = f"{accepted} accepted, {handled} handled"
        if self._bar is not None:
            self._bar.update(self._task, completed=min(elapsed, self._seconds), description=text)
        elif time.monotonic() - self._told_at >= PLAIN_EVERY_S:
            self._told_at = time.monotonic()
            self.note(f"{elapsed:6.1f} s  {text}")
