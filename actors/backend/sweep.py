"""Sweeping: what has expired in the store's directories is deleted."""

# ruff: noqa: PTH106

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import stat
import time
from collections.abc import Callable

from botvisor.errors import StoreError
from botvisor.wire import (
    ADMIN_TTL_S,
    BAD_DIR,
    CLAIM_DIR,
    CONTROL_TTL_S,
    DEAD_DIR,
    DEAD_TTL_S,
    DONE_DIR,
    DONE_TTL_S,
    EPITAPH_TTL_S,
    IDENTITY_TTL_S,
    KEPT_TTL_S,
    OUTBOX_DIR,
    PROC_TTL_S,
    TMP_DIR,
)

from .directory import Directory
from .identity_files import remove_empty
from .lock import remove_stale, unheld
from .receipts import Receipts
from .spool_names import prefix_of
from .steady_clock import SteadyClock

# For each directory; the rest is for the next time, so that no batch waits for a hundred thousand files.
_BUDGET_S = 0.25
_HEARTBEAT = re.compile(r"[A-Za-z0-9._%+=]+\.(json|stack)")
_LOCK = re.compile(r"[A-Za-z0-9._%+=-]+\.lock")
_ACKS = re.compile(r"[A-Za-z0-9._%+=]+\.acks")
_ROOM = re.compile(r"[0-9a-f]{64}")
_IDENTITY = re.compile(r"[0-9a-f]{64}\.json")


class Sweeper:
    """Deletes what has expired, by the age of its file; only what bears a name of ours.

    Args:
        spool: the directory of admin messages.
        heartbeats: the directory of heartbeats.
        identities: the directory of identities.
        clock: tells what is too old.
    """

    def __init__(
        self, spool: Directory, heartbeats: Directory, identities: Directory, clock: SteadyClock
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._heartbeats = heartbeats
        self._identities = identities
        self._error: StoreError | None = None

    def sweep(self) -> int:
        """Delete what has expired; when there is much of it, the rest is left for the next time.

        Returns:
            How many files were deleted.

        Raises:
            StoreError: the first of the errors that kept something from being deleted.
        """
        self._error = None
        removed = 0
        if self._usable(self._spool):
            removed += self._expire(self._spool, _spool_ttl_s)
            removed += self._expire_locks(self._spool)
            removed += self._expire_claims()
            removed += self._expire_outboxes()
            removed += self._expire_receipts()
            for name in (DEAD_DIR, BAD_DIR):
                removed += self._expire(self._spool.sub(name), _always(DEAD_TTL_S))
            removed += self._expire_drafts(self._spool)
        if self._usable(self._heartbeats):
            removed += self._expire(
                self._heartbeats, lambda name: EPITAPH_TTL_S if _HEARTBEAT.fullmatch(name) else None
            )
            removed += self._expire_drafts(self._heartbeats)
        if self._usable(self._identities):
            removed += self._expire_identities()
            removed += self._expire_drafts(self._identities)
        if self._error is not None:
            raise self._error
        return removed

    def _usable(self, directory: Directory) -> bool:
        try:
            return directory.exists()
        except StoreError as error:
            self._error = self._error or error
            return False

    def _expire(self, directory: Directory, ttl_s: Callable[[str], float | None]) -> int:
        """Delete the files that are older than the lifetime of their name; those without one stay."""
        removed = 0
        oldest_s, deadline = functools.cache(self._clock.oldest_s), time.monotonic() + _BUDGET_S
        try:
            for entry in directory.entries():
                if time.monotonic() > deadline:
                    break
                limit_s = ttl_s(entry.name)
                if limit_s is not None and _is_older(entry, oldest_s(limit_s)):
                    removed += directory.remove(entry.name)
        except StoreError as error:
            self._error = self._error or error
        return removed

    def _expire_drafts(self, directory: Directory) -> int:
        return self._expire(directory.sub(TMP_DIR), _always(ADMIN_TTL_S))

    def _expire_locks(self, directory: Directory) -> int:
        names = [name for name in directory.names() if _LOCK.fullmatch(name)]
        oldest = self._clock.oldest_s(ADMIN_TTL_S)
        old = [name for name in names if (found := directory.stat(name)) and found.st_mtime < oldest]
        return sum(remove_stale(directory.at(name)) for name in old)

    def _expire_claims(self) -> int:
        """Delete what is in flight of queues that nobody serves any more."""
        removed = 0
        for entry in list(self._spool.sub(CLAIM_DIR).entries()):
            if entry.is_dir(follow_symlinks=False) and unheld(self._spool.at(f"{entry.name}.lock")):
                removed += self._expire(self._spool.sub(CLAIM_DIR).sub(entry.name), _always(PROC_TTL_S))
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(entry.path)
        return removed

    def _expire_receipts(self) -> int:
        """Delete the receipts that are too old, and what else is."""
        removed = self._expire(self._spool.sub(DONE_DIR), _always(DONE_TTL_S))
        receipts, deadline = Receipts(self._spool, self._clock), time.monotonic() + _BUDGET_S
        folders = [entry for entry in receipts.directory.entries() if entry.is_dir(follow_symlinks=False)]
        # Each gets its turn, though the time may not do for all.
        random.shuffle(folders)
        for folder in folders:
            try:
                removed += receipts.expire(folder.name, deadline)
                removed += receipts.expire_last(folder.name, deadline)
            except StoreError as error:
                self._error = self._error or error
            if time.monotonic() > deadline:
                break
        return removed

    def _expire_outboxes(self) -> int:
        """Delete what senders left who are no more, and nobody has taken over in time."""
        outbox, removed = self._spool.sub(OUTBOX_DIR), 0
        for entry in list(outbox.entries()):
            if entry.is_dir(follow_symlinks=False) and unheld(outbox.at(f"{entry.name}.lock")):
                removed += self._expire(outbox.sub(entry.name), _always(KEPT_TTL_S))
                with contextlib.suppress(OSError):  # it is not empty
                    os.rmdir(entry.path)
        return removed + self._expire_locks(outbox)

    def _expire_identities(self) -> int:
        removed = 0
        deadline = time.monotonic() + _BUDGET_S
        for entry in self._identities.entries():
            if time.monotonic() > deadline:
                break
            if _ROOM.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                room = self._identities.sub(entry.name)
                removed += self._expire(
                    room, lambda name: IDENTITY_TTL_S if _IDENTITY.fullmatch(name) else None
                )
                if not room.names():
                    remove_empty(room)
        return removed


def _always(ttl_s: float) -> Callable[[str], float]:
    return lambda _: ttl_s


def _spool_ttl_s(name: str) -> float | None:
    prefix = prefix_of(name)
    if prefix is not None:
        return CONTROL_TTL_S if prefix.startswith("ctl-") else ADMIN_TTL_S
    return DONE_TTL_S if _ACKS.fullmatch(name) else None


def _is_older(entry: os.DirEntry[str], oldest: float) -> bool:
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return found.st_mtime < oldest and not stat.S_ISDIR(found.st_mode)
