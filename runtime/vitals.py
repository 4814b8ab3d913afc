"""A bot's vitals: what its heartbeats say."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import anyio

from .blocked import as_blocked
from .heartbeat import Heartbeat
from .participants import Participants
from .process import Owner
from .stall import Stall

_STACK_LIMIT = 4_000  # characters of one task
_STACK_TOLD_S = 15.0


class Vitals:
    """What outlives the heartbeat actor's incarnations.

    Args:
        owner: who the bot is.
        room_url: its room.
        probe: returns the figures for `health`, and whether the bot is degraded.
    """

    def __init__(self, owner: Owner, room_url: str, probe: Callable[[], tuple[dict[str, Any], bool]]) -> None:
        self.owner = owner
        self.room_url = room_url
        self.participants = Participants(lambda: self.on_change())
        self.running = False
        self.draining = False
        self.epitaph: dict[str, Any] | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._probe = probe
        self._seq = 0
        self._last: Heartbeat | None = None
        self._stack: dict[str, str] = {}
        self._stack_until = 0.0
        self._told = ("", 0.0)  # the status, and since when

    @property
    def status(self) -> str:
        """``starting``, ``healthy``, ``degraded``, ``draining`` or ``stopped``."""
        return self._status(self._probe()[1])

    def figures(self) -> dict[str, Any]:
        """Return the figures of this moment, with the ``status``; see `Health.probe`."""
        figures, degraded = self._probe()
        return figures | {"status": self._status(degraded)}

    def tell_stack(self, stack: dict[str, str]) -> None:
        """Tell in the heartbeats of the next 15 s where the bot's tasks stand: somebody asked."""
        self._stack = {name: text[-_STACK_LIMIT:] for name, text in stack.items()}
        self._stack_until = anyio.current_time() + _STACK_TOLD_S
        self.on_change()

    def beat(self) -> Heartbeat:
        """Return the next heartbeat."""
        health, degraded = self._probe()
        if self._stack and anyio.current_time() < self._stack_until:
            health["stack"] = self._stack
        self._seq += 1
        owner, status = self.owner, self._status(degraded)
        if status != self._told[0]:
            self._told = (status, time.monotonic())
        health["status_s"] = round(time.monotonic() - self._told[1], 1)
        self._last = Heartbeat(
            pid=owner.pid,
            room_url=self.room_url,
            participants=tuple(self.participants),
            timestamp=datetime.now(UTC).isoformat(timespec="milliseconds"),
            bot_id=owner.bot_id,
            host=owner.host,
            boot_id=owner.boot_id,
            pid_ns=owner.pid_ns,
            start_ticks=owner.start_ticks,
            instance=owner.instance,
            seq=self._seq,
            status=status,
            health=health,
            epitaph=self.epitaph,
        )
        return self._last

    def blocked_beat(self, stall: Stall) -> Heartbeat | None:
        """Return a heartbeat for a loop that stands still; None before the first and after the last one.

        It may be called in another thread: it makes do with what the last heartbeat said.
        """
        last = self._last
        if last is None or last.epitaph is not None:
            return None
        self._seq += 1
        return as_blocked(last, stall, datetime.now(UTC), self._seq)

    def _status(self, degraded: bool) -> str:
        if self.epitaph is not None:
            return "stopped"
        if self.draining:
            return "draining"
        if not self.running:
            return "starting"
        return "degraded" if degraded else "healthy"
