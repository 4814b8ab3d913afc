"""Files of the spool that Redis has, too: kept until Redis says that their message was handled.

Until then a bot that starts on files alone finds it here. When a file was looked at last is its time of
reading, which all processes of the host see; a file that was never looked at has that of its writing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from botvisor.store import PushMessage
from botvisor.wire import ADMIN_TTL_S, CONTROL_TTL_S

from .parcels import Parcel, read_parcel
from .spool import Spool

MISSES = 2  # Redis may be back before the bot has told it again what it had handled

_FIRST_S = 5.0
_LAST_S = 60.0


class ForwardedFiles:
    """The forwarded files of a spool. Its methods block.

    Args:
        spool: the spool.

    Attributes:
        due: the names of those that Redis is to be asked about.
    """

    def __init__(self, spool: Spool) -> None:
        self.due: deque[str] = deque()
        self._spool = spool
        self._directory = spool.directory
        self._misses: dict[str, int] = {}

    def find(self, names: Sequence[str]) -> None:
        """Find what is due; delete the control objects that have expired.

        Args:
            names: all forwarded files there are.
        """
        now, found = time.time(), []
        oldest_s = self._spool.clock.oldest_s(ADMIN_TTL_S)
        self._misses = {name: self._misses[name] for name in names if name in self._misses}
        for name in names:
            facts = self._directory.stat(name)
            if facts is None:
                continue
            read_s = facts.st_atime - facts.st_mtime
            if name.startswith("ctl-"):  # no receipt tells of it
                if now - facts.st_mtime >= CONTROL_TTL_S:
                    self._directory.remove(name)
            # The clock may have been set back since it was read.
            elif facts.st_mtime > oldest_s and (
                read_s <= 0 or abs(now - facts.st_atime) >= min(_LAST_S, max(_FIRST_S, read_s))
            ):
                found.append((facts.st_mtime_ns, name))
        self.due = deque(name for _, name in sorted(found))

    def keep(self, parcel: Parcel) -> None:
        """Begin to keep a file: from now on it says itself by which id its message is known.

        Args:
            parcel: what the file says, under its new name.

        Raises:
            StoreError: when that cannot be written.
        """
        if not parcel.named:
            self._directory.write(parcel.name, parcel.command.raw)
        self._is_due_again(parcel)

    def take(self, limit: int) -> list[Parcel]:
        """Return the oldest that are due: Redis is to be asked about them now.

        Args:
            limit: at most how many.

        Raises:
            StoreError: when the spool cannot be used.
        """
        parcels: list[Parcel] = []
        while self.due and len(parcels) < limit:
            parcel = read_parcel(self._spool, self.due.popleft())
            if parcel is not None and isinstance(parcel.command, PushMessage):
                parcels.append(parcel)
        return parcels

    def settle(self, ended: Sequence[Parcel], held: Sequence[Parcel], missed: Sequence[Parcel]) -> None:
        """Take in what Redis has said.

        Args:
            ended: are of no more use: they are deleted.
            held: are there, and nobody has handled them.
            missed: are not there.

        Raises:
            StoreError: when the spool cannot be used.
        """
        now_ns = time.time_ns()
        for parcel in ended:
            self._misses.pop(parcel.name, None)
            self._directory.remove(parcel.name)
        for parcel in held:
            self._misses.pop(parcel.name, None)
            self._directory.set_times(parcel.name, read_ns=now_ns, changed_ns=parcel.written_ns)
        for parcel in missed:
            self._misses[parcel.name] = self._misses.get(parcel.name, 0) + 1
            self._is_due_again(parcel)

    def is_lost(self, parcel: Parcel) -> bool:
        """Return whether Redis has lost a message: it was not there several times in a row."""
        return self._misses.get(parcel.name, 0) >= MISSES

    def _is_due_again(self, parcel: Parcel) -> None:
        written_ns = parcel.written_ns
        self._directory.set_times(parcel.name, read_ns=written_ns, changed_ns=written_ns)
