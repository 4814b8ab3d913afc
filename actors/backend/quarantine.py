"""Quarantine: files that cannot be understood, kept for somebody to look at."""

from __future__ import annotations

import time
from collections.abc import Callable

from botvisor.wire import BAD_DIR, QUARANTINE_LIMIT

from .directory import Directory
from .spool_names import bounded_name

Notify = Callable[[str, str], None]
"""Called with a level, such as ``WARNING``, and a text; from any thread."""


class Quarantine:
    """The bad files of a directory: at most `QUARANTINE_LIMIT`, the oldest are dropped.

    Args:
        directory: where the files come from; the quarantine is inside.
        notify: told of every file that is moved here.
    """

    def __init__(self, directory: Directory, notify: Notify) -> None:
        self.directory = directory.sub(BAD_DIR)
        self._notify = notify

    def put(self, source: Directory, name: str, reason: str) -> None:
        """Move a file here, bytes and all.

        Args:
            source: where it is.
            name: its name.
            reason: what is wrong with it.

        Raises:
            StoreUnavailable: when it cannot be moved.
        """
        kept = bounded_name(f"{time.time_ns():020d}", f"-{name}")
        self.directory.ready()
        if source.move(name, self.directory, kept):
            self._notify("WARNING", f"{source}/{name!r} was put into quarantine as {kept!r}: {reason}")
            self._trim()

    def _trim(self) -> None:
        # Our names begin with the time, so they sort by age.
        names = sorted(entry.name for entry in self.directory.entries() if not entry.is_dir())
        for name in names[:-QUARANTINE_LIMIT]:
            self.directory.remove(name)
