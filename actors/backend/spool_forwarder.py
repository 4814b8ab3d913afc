"""The spool's way to Redis: messages of this host for bots that do not run here."""

from __future__ import annotations

import time
from collections import deque

from botvisor import process
from botvisor.errors import StoreError
from botvisor.wire import ADMIN_TTL_S, CONTROL_TTL_S

from .directory import Directory
from .forwarded_files import ForwardedFiles
from .lock import FileLease, unheld
from .parcels import Parcel, lock_of, read_parcel
from .spool import Spool
from .spool_names import forwarded_name, is_forwarded, prefix_of

# No id of a bot has a dash in a file's name, so this is nobody's lease.
_LEASE = "spool-forward"


class SpoolForwarder:
    """Gives Redis the files of the spool whose bot holds no live lock here. Its methods block.

    A file is first renamed, so that its name says that Redis has it, then pushed with its id, and stays: its
    bot may yet start on files alone. One process of a host does so at a time. If it dies in between, the file
    is one that Redis knows nothing of, and `ForwardedFiles` has it pushed again: a crash may repeat a
    message, under the same id, and loses none.

    Args:
        spool: the spool.

    Attributes:
        kept: the files that were forwarded.
    """

    def __init__(self, spool: Spool) -> None:
        self.kept = ForwardedFiles(spool)
        self._spool = spool
        self._directory: Directory = spool.directory
        self._lease = FileLease(spool.directory.at(f"{_LEASE}.lock"))
        self._owner = process.own(_LEASE, process.new_instance())
        self._waiting: deque[str] = deque()
        self._refused: set[str] = set()

    def begin(self) -> bool:
        """Begin a round: look for what is to be done, which no other process does until `close`.

        Returns:
            Whether there is something, and nobody else is at it.

        Raises:
            StoreError: when the spool cannot be used.
        """
        if not self._directory.exists():
            return False
        names = self._directory.names()
        self._refused.intersection_update(names)
        self._waiting = self._find([name for name in names if not is_forwarded(name)])
        self.kept.find([name for name in names if is_forwarded(name)])
        return bool(self._waiting or self.kept.due) and self._lease.acquire(self._owner) is None

    def take(self, limit: int) -> list[Parcel]:
        """Mark files as forwarded, oldest first; they are to be pushed now.

        Args:
            limit: at most how many.

        Raises:
            StoreError: when the spool cannot be used.
        """
        parcels: list[Parcel] = []
        while self._waiting and len(parcels) < limit:
            try:
                parcel = self._mark(self._waiting.popleft())
            except StoreError:
                if not parcels:
                    raise
                break  # what was marked is to be pushed
            if parcel is not None:
                parcels.append(parcel)
        return parcels

    def put_back(self, parcels: list[Parcel], *, refused: bool = False) -> None:
        """Mark files as not forwarded: they were not pushed, or nobody knows.

        Args:
            parcels: as they were taken.
            refused: never take them again.

        Raises:
            StoreError: when the spool cannot be used; they are pushed again nevertheless.
        """
        if refused:
            self._refused.update(parcel.name for parcel in parcels)
        for parcel in parcels:
            if self._directory.stat(parcel.name) is None:
                self._move(forwarded_name(parcel.name), parcel.name)

    def close(self) -> None:
        """End the round: let another process forward."""
        self._lease.release(self._owner.instance)

    def _mark(self, name: str) -> Parcel | None:
        parcel, goal = read_parcel(self._spool, name), forwarded_name(name)
        # Where its goal is there, the name was used before: one after the other. What went away has its bot.
        if parcel is None or self._directory.stat(goal) is not None or not self._move(name, goal):
            return None
        try:
            self.kept.keep(parcel._replace(name=goal))
        except StoreError:
            self._move(goal, name)
            raise
        return parcel

    def _move(self, name: str, goal: str) -> bool:
        return self._directory.move(name, self._directory, goal)

    def _find(self, names: list[str]) -> deque[str]:
        """Return those files whose bot is not here, oldest first."""
        here: dict[str, bool] = {}
        found: list[tuple[int, str]] = []
        oldest_s, oldest_control_s = self._spool.clock.oldest_s(ADMIN_TTL_S), time.time() - CONTROL_TTL_S
        for name in names:
            prefix = prefix_of(name)
            if prefix is None or name in self._refused:
                continue
            if prefix not in here:
                here[prefix] = not unheld(self._directory.at(lock_of(prefix)))
            facts = self._directory.stat(name) if not here[prefix] else None
            limit_s = oldest_control_s if prefix.startswith("ctl-") else oldest_s
            if facts is not None and facts.st_mtime > limit_s:
                found.append((facts.st_mtime_ns, name))
        return deque(name for _, name in sorted(found))
