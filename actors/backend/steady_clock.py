"""A host's wall clock, and for how long it has run evenly: files are dated by it, and it can be set.

A clock that is set a day ahead makes every file a day older. So what has a lifetime is over only when the
clock has run evenly for as long. ``.clock``, beside the messages, tells all processes of the host since when.
"""

from __future__ import annotations

import contextlib
import math
import time

import msgspec

from botvisor.errors import StoreError
from botvisor.process import boot_id
from botvisor.wire import CLOCK_FILE, VERSION

from .directory import Directory

_TOLERANCE_S = 60.0  # what corrections in small steps may come to between two looks
_LOOK_EVERY_S = 1.0
_WRITE_EVERY_S = 600.0
_LIMIT = 4_096
_ALWAYS = -math.inf
# Since boot, while the machine sleeps too; other systems than Linux have no such clock.
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class _Mark(msgspec.Struct, frozen=True, kw_only=True):
    """What the two clocks said at one moment. `since_s` is by the clock since boot; None: for ever."""

    v: int = VERSION
    boot_id: str
    boot_s: float
    wall_s: float
    since_s: float | None = None

    def differs(self, other: _Mark) -> bool:
        """Return whether one of the clocks was set between this mark and another one."""
        drift_s = (other.wall_s - self.wall_s) - (other.boot_s - self.boot_s)
        return self.boot_id != other.boot_id or abs(drift_s) > _TOLERANCE_S


class SteadyClock:
    """Tells what is so old that its lifetime is over. Its methods block.

    Args:
        spool: the directory of admin messages, where the mark is kept.
    """

    def __init__(self, spool: Directory) -> None:
        self._spool = spool
        self._last: _Mark | None = None

    def oldest_s(self, ttl_s: float) -> float:
        """Return the time before which all that has a lifetime is over; minus infinity when nothing is.

        Args:
            ttl_s: the lifetime, in seconds.

        Returns:
            Seconds since the epoch.
        """
        now = _Mark(boot_id=boot_id(), boot_s=time.clock_gettime(_BOOT_CLOCK), wall_s=time.time())
        last = self._last
        if last is None or last.differs(now) or now.boot_s - last.boot_s > _LOOK_EVERY_S:
            last = self._last = self._look(now)
        since_s = _ALWAYS if last.since_s is None else last.since_s
        return now.wall_s - ttl_s if now.boot_s - since_s >= ttl_s else -math.inf

    def _look(self, now: _Mark) -> _Mark:
        """Compare the clock with its mark, and leave one for whoever looks next."""
        marked = None
        with contextlib.suppress(StoreError):
            marked = self._read()
        known = self._last if marked is None else marked
        if known is not None:
            changed = known.differs(now)
            now = msgspec.structs.replace(now, since_s=now.boot_s if changed else known.since_s)
        if marked is None or marked.differs(now) or now.boot_s - marked.boot_s > _WRITE_EVERY_S:
            with contextlib.suppress(StoreError):  # the next one to look sees the same change
                if self._spool.exists():
                    self._spool.write(CLOCK_FILE, msgspec.json.encode(now), sync=False)
        return now

    def _read(self) -> _Mark | None:
        content = self._spool.read(CLOCK_FILE, _LIMIT) if self._spool.exists() else None
        if content is None:
            return None
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode(content.raw, type=_Mark)
        return _Mark(boot_id="", boot_s=0.0, wall_s=0.0)  # nobody's, so nothing is known
