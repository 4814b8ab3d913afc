"""The figures that a bot's heartbeats tell its operators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from .child import State
from .figures import Figures
from .stalls import EVENT_LOOP
from .storage import Storage
from .supervisor import Supervisor

_LEDGER_ENTRIES = 4
# A bot's own children. To look for them among those of all bots would cost a fleet the square of its size.
_OWN = ("identity", "heartbeat", "inbox", "main")

PROBES = "probes"
"""The name of the child that answers probes."""


class Health:
    """Looks after the health of all bots of one supervisor.

    Args:
        supervisor: the supervisor.
        storage: where everything is kept.
        interval_s: seconds between two heartbeats of a bot.

    Attributes:
        ailing: names of shared children that run, and cannot do what they are there for.
    """

    def __init__(self, supervisor: Supervisor, storage: Storage, interval_s: float) -> None:
        self._supervisor = supervisor
        self._storage = storage
        self.ailing: set[str] = set()
        self._shared = ("backend", *storage.children, EVENT_LOOP, PROBES)  # what all bots depend on
        self._interval_s = interval_s
        self._figures = Figures()
        self._lags_s = [0.0, 0.0]
        self._lags_turn_at = 0.0

    def watch(self) -> None:
        """Time the garbage collector from now on."""
        self._figures.watch()

    def close(self) -> None:
        """Time it no longer."""
        self._figures.close()

    def probe(self, bot_id: str, custom: Sequence[str], began: float) -> tuple[dict[str, Any], bool]:
        """Return a bot's figures, and whether it is degraded.

        Args:
            bot_id: the bot.
            custom: the names of the actors that its author has started.
            began: when it was started, on the clock of `time.monotonic`.
        """
        prefix, supervisor = f"{bot_id}/", self._supervisor
        names, resting = self._names(prefix, custom), self._resting(prefix, custom)
        shared = self.shared()
        ledger = [e for e in supervisor.ledger.entries() if self._concerns(e.actor, prefix)]
        waiting = {name.removeprefix(prefix): supervisor.waiting(name) for name in names}
        health = {
            "mailboxes": {name: depth for name, (depth, _) in waiting.items() if depth},
            "oldest_message_s": round(max(oldest_s for _, oldest_s in waiting.values()), 3),
            "resting": resting,
            "restarts": supervisor.ledger.restarts(prefix),
            "ledger": [msgspec.to_builtins(entry) for entry in ledger[-_LEDGER_ENTRIES:]],
            "uptime_s": round(time.monotonic() - began, 1),
            **shared,
        }
        if custom:
            health["actors"] = list(custom)
        return health, bool(resting or self._trouble_of(shared["backend"], shared["store"]))

    def shared(self) -> dict[str, Any]:
        """Return the figures that all bots of the process share."""
        store = self._storage.state()
        mode = store.pop("mode")
        return {
            "lag_ms": round(self._lag_s() * 1000, 1),
            "backend": mode,
            "store": store,
            **self._figures.read(),
        }

    def trouble(self, bot_id: str, custom: Sequence[str]) -> str:
        """Return why a bot is degraded, in a few words; empty when it is not. See `probe`."""
        state = self._storage.state()
        reasons = [f"{name} is at rest" for name in self._resting(f"{bot_id}/", custom)]
        return "; ".join(filter(None, [*reasons, self._trouble_of(state["mode"], state)]))

    def _trouble_of(self, mode: str, store: dict[str, Any]) -> str:
        home = self._storage.home
        return f"the backend is {mode}, not {home}" if mode != home else str(store.get("reason", ""))

    def _names(self, prefix: str, custom: Sequence[str]) -> list[str]:
        return [*self._shared, *(f"{prefix}{name}" for name in (*_OWN, *custom))]

    def _resting(self, prefix: str, custom: Sequence[str]) -> list[str]:
        rests = (State.PARKED, State.BACKING_OFF)
        return [
            name
            for name in self._names(prefix, custom)
            if name in self.ailing or self._supervisor.state(name) in rests
        ]

    def _concerns(self, actor: str, prefix: str) -> bool:
        return actor in self._shared or actor.startswith(prefix)

    def _lag_s(self) -> float:
        # The worst of the last one or two intervals, for whichever bot asks, and however often.
        lags, now = self._lags_s, time.monotonic()
        lags[1] = max(lags[1], self._supervisor.timers.take_lag_s())
        worst = max(lags)
        if now >= self._lags_turn_at:
            self._lags_turn_at = now + self._interval_s
            lags[:] = lags[1], 0.0
        return worst
