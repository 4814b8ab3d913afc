"""The index of the spool: which files wait for the queues we serve, oldest first.

A directory of 10,000 files takes 5 ms to list, so it is not listed for each message. The doorbell notes every
name as it appears; without a doorbell the directory's own modification time tells when to look again.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import deque

from botvisor.wire import MESSAGE_SUFFIX

from .directory import Directory, Stamp
from .spool_names import is_forwarded, prefix_of

# How long a file that cannot be parsed must stay unchanged before nobody can be writing it: our own choice.
REST_S = 2.0
_LOOK_AGAIN_S = 0.1
# Coarse filesystems stamp their directories every other second: a change within that time leaves no trace.
_STAMP_MARGIN_NS = 2_500_000_000
_QUEUE_LIMIT = 10_000
_NOTE_LIMIT = 20_000


def settled(stamp: Stamp | None) -> bool:
    """Return whether a change since this stamp was taken must show as another stamp."""
    return stamp is None or abs(time.time_ns() - stamp.mtime_ns) > _STAMP_MARGIN_NS


class _Rest:
    """A file that cannot be parsed, perhaps because it is being written."""

    __slots__ = ("look_at", "mtime_ns", "size", "until")

    def __init__(self, size: int, mtime_ns: int, until: float) -> None:
        self.size = size
        self.mtime_ns = mtime_ns
        self.until = until
        self.look_at = 0.0


class _Waiting:
    """The files that wait under one prefix."""

    __slots__ = ("heap", "names", "partial", "resting", "stale")

    def __init__(self) -> None:
        self.heap: list[tuple[int, str]] = []
        self.names: set[str] = set()
        self.resting: dict[str, _Rest] = {}
        self.stale = True
        self.partial = False

    def add(self, mtime_ns: int, name: str) -> None:
        if name in self.names:
            return
        if len(self.heap) >= _QUEUE_LIMIT:
            self.partial = True
            return
        self.names.add(name)
        heapq.heappush(self.heap, (mtime_ns, name))

    def replace(self, found: list[tuple[int, str]], now: float) -> None:
        present = {name for _, name in found}
        self.resting = {name: rest for name, rest in self.resting.items() if name in present}
        asleep = {name for name, rest in self.resting.items() if rest.look_at > now}
        self.heap = sorted(entry for entry in found if entry[1] not in asleep)[:_QUEUE_LIMIT]
        self.names = {name for _, name in self.heap}
        self.partial = len(found) > _QUEUE_LIMIT
        self.stale = False


class SpoolIndex:
    """The names that wait under the prefixes we serve.

    `note`, `rescan`, `serves`, `due_prefixes` and `next_due` may be called from any thread, the others from
    one at a time.

    Args:
        directory: the spool.
        forwarded: whether messages wait here too that Redis has.

    Attributes:
        fed: a doorbell notes every new name, so the directory need not be looked at.
    """

    def __init__(self, directory: Directory, *, forwarded: bool = True) -> None:
        self.fed = False
        self._directory = directory
        self._forwarded = forwarded
        self._queues: dict[str, _Waiting] = {}
        self._noted: deque[str] = deque()
        self._rescan = False
        self._stamp: Stamp | None = None
        self._settled = False
        self._due: dict[str, float] = {}

    def serve(self, prefix: str) -> None:
        """Keep the names under this prefix from now on, those that are there already included."""
        self._queues.setdefault(prefix, _Waiting()).stale = True

    def forget(self, prefix: str) -> None:
        """Keep the names under this prefix no longer."""
        self._queues.pop(prefix, None)
        self._due.pop(prefix, None)

    def serves(self, prefix: str) -> bool:
        """Return whether the names under this prefix are kept."""
        return prefix in self._queues

    def note(self, name: str) -> None:
        """Tell that a file came or changed."""
        if len(self._noted) >= _NOTE_LIMIT:
            self._noted.clear()
            self._rescan = True
        self._noted.append(name)

    def rescan(self) -> None:
        """Have the directory listed before the next name is taken."""
        self._rescan = True

    def first(self, prefix: str) -> str | None:
        """Return the oldest name that waits, without taking it away.

        Raises:
            StoreUnavailable: when the directory cannot be read.
        """
        waiting = self._queues[prefix]
        self._absorb()
        now = time.monotonic()
        for name, rest in waiting.resting.items():
            if rest.look_at <= now:
                waiting.add(rest.mtime_ns, name)
        if waiting.stale or (not waiting.heap and (waiting.partial or self._changed())):
            self._scan(prefix)
        return waiting.heap[0][1] if waiting.heap else None

    def drop(self, prefix: str, name: str) -> None:
        """Take away the name that `first` returned: it waits no more."""
        waiting = self._queues[prefix]
        waiting.resting.pop(name, None)
        self._pop(waiting, name)

    def put(self, prefix: str, name: str, mtime_ns: int) -> None:
        """Add a name that is known to be there."""
        if prefix in self._queues:
            self._queues[prefix].add(mtime_ns, name)

    def rest(self, prefix: str, name: str, found: os.stat_result) -> bool:
        """Lay the name that `first` returned aside, because its file cannot be parsed yet.

        It comes up again by itself, at the latest when its size and time of change have rested `REST_S`
        seconds; those that wait behind it need not wait for that.

        Args:
            prefix: its prefix.
            name: the name.
            found: the file's facts when it was read.

        Returns:
            Whether it rests; otherwise it has rested for long enough and is still the first.
        """
        waiting = self._queues[prefix]
        now = time.monotonic()
        rest = waiting.resting.get(name)
        if rest is None or (rest.size, rest.mtime_ns) != (found.st_size, found.st_mtime_ns):
            # The wall clock shortens the wait for old files, but a clock that jumps cannot prolong it.
            unchanged_s = time.time() - found.st_mtime
            rest = _Rest(found.st_size, found.st_mtime_ns, now + min(REST_S, max(0.0, REST_S - unchanged_s)))
            waiting.resting[name] = rest
        if now >= rest.until:
            return False
        rest.look_at = min(rest.until, now + _LOOK_AGAIN_S)
        self._pop(waiting, name)
        self._due[prefix] = min(rest.look_at for rest in waiting.resting.values())
        return True

    def due_prefixes(self, now: float) -> list[str]:
        """Return the prefixes under which a resting file is to be looked at again, once each.

        Args:
            now: the time, by `time.monotonic`.
        """
        due = [prefix for prefix, look_at in list(self._due.items()) if look_at <= now]
        for prefix in due:
            self._due.pop(prefix, None)
        return due

    def next_due(self) -> float:
        """Return when `due_prefixes` will have something, by `time.monotonic`; infinity if not to be seen."""
        return min(list(self._due.values()), default=math.inf)

    def _pop(self, waiting: _Waiting, name: str) -> None:
        if waiting.heap and waiting.heap[0][1] == name:
            heapq.heappop(waiting.heap)
            waiting.names.discard(name)

    def _absorb(self) -> None:
        if self._rescan:
            self._rescan = False
            for waiting in self._queues.values():
                waiting.stale = True
        while self._noted:
            name = self._noted.popleft()
            queue = self._queues.get(self._prefix(name))
            if queue is not None and name not in queue.names:
                found = self._directory.stat(name)
                if found is not None:
                    queue.add(found.st_mtime_ns, name)

    def _prefix(self, name: str) -> str:
        """Return the prefix that a name waits under; an empty one when it waits for nobody here."""
        prefix = prefix_of(name) or ""
        # A bot takes its control objects from everywhere at once, and knows those it has had.
        waits = self._forwarded or prefix.startswith("ctl-") or not is_forwarded(name)
        return prefix if waits else ""

    def _changed(self) -> bool:
        return not self.fed and (not self._settled or self._directory.stamp() != self._stamp)

    def _scan(self, prefix: str) -> None:
        """List the directory for all prefixes; if a doorbell tells what is new, for those that need it."""
        # To go through all queues for the sake of a new one costs a starting fleet the square of its size.
        wanted = {prefix, *(name for name, waiting in self._queues.items() if waiting.stale)}
        if not self.fed:
            self._stamp = self._directory.stamp()
            self._settled = settled(self._stamp)
            wanted = set(self._queues)
        found: dict[str, list[tuple[int, str]]] = {name: [] for name in wanted}
        for name in self._directory.names():
            waiting = found.get(self._prefix(name)) if name.endswith(MESSAGE_SUFFIX) else None
            facts = self._directory.stat(name) if waiting is not None else None
            if waiting is None or facts is None:
                continue
            waiting.append((facts.st_mtime_ns, name))
            if len(waiting) > 2 * _QUEUE_LIMIT:
                waiting[:] = heapq.nsmallest(_QUEUE_LIMIT + 1, waiting)
        for name, listed in found.items():
            self._queues[name].replace(listed, time.monotonic())
