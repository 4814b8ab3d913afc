"""The fleet as it was last seen, and what of it has changed since somebody looked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from botvisor.heartbeat import Heartbeat

_GONE_LIMIT = 1_000
# What differs in two rows of one heartbeat: those who read them count on by themselves.
_TICKING = frozenset({"last_seen_s", "uptime_s"})


class Snapshot(msgspec.Struct, frozen=True):
    """A bot as it was last seen.

    Args:
        heartbeat: its last one.
        row: what is shown of it; see `botvisor.web`.
        at: when that was read, in seconds since the epoch.
        version: the board's, when this changed.
        fresh: whether it was read in the last look.
    """

    heartbeat: Heartbeat
    row: dict[str, Any]
    at: float
    version: int
    fresh: bool = True

    def shown(self) -> dict[str, Any]:
        """Return the row, with the time of which it tells when that is not now."""
        return {**self.row, "as_of": None if self.fresh else self.at}


class Board:
    """Keeps the last fleet, also while nobody can tell how it is.

    Every change has a number, the board's `version` then: whoever has seen one is told what is newer. So
    there is nothing to keep for a reader, however slow.
    """

    def __init__(self) -> None:
        self.version = 1
        self.bots: dict[str, Snapshot] = {}
        self.away: str | None = None
        self.problem: str | None = None
        self._complete_at: float | None = None
        self._gone: dict[str, int] = {}
        self._known_since = 0  # before that version nobody knows what has gone
        self._changes: tuple[int, dict[int | None, bytes]] = (0, {})

    def state(self) -> dict[str, Any]:
        """Return how complete and how old all this is; see `botvisor.web`."""
        whole = self.away is None and self.problem is None
        return {
            "as_of": None if whole else self._complete_at,
            "away": self.away,
            "problem": self.problem,
        }

    def show(
        self, found: Mapping[str, tuple[Heartbeat, dict[str, Any]]], now: float, away: str | None
    ) -> list[str]:
        """Take over what a look has found.

        While Redis is away a look finds the bots of this host alone: the others stay as they were last seen.

        Args:
            found: heartbeats and rows, by the bots' ids.
            now: seconds since the epoch.
            away: why Redis is not used, if it should be.

        Returns:
            The ids of the bots with a new heartbeat.
        """
        following = self.version + 1
        changed = self._take_state(away, None)
        if away is None:
            self._complete_at = now
            for bot_id in self.bots.keys() - found.keys():
                del self.bots[bot_id]
                self._gone[bot_id] = following
                changed = True
        beaten = []
        for bot_id, (heartbeat, row) in found.items():
            old = self.bots.get(bot_id)
            if old is not None and away is not None and heartbeat.timestamp < old.heartbeat.timestamp:
                continue  # a file of an earlier outage
            same = old is not None and old.fresh and _lasting(row) == _lasting(old.row)
            version = old.version if old is not None and same else following
            self.bots[bot_id] = Snapshot(heartbeat, row, now, version)
            self._gone.pop(bot_id, None)
            changed = changed or not same
            if old is None or _beat(old.heartbeat) != _beat(heartbeat):
                beaten.append(bot_id)
        if away is not None:
            changed = self._age(now, following) or changed
        self._forget()
        if changed:
            self.version = following
        return beaten

    def lose(self, problem: str) -> None:
        """Take over that a look has found nothing out.

        Args:
            problem: why, in words.
        """
        following = self.version + 1
        changed = self._take_state(self.away, problem)
        if self._age(float("inf"), following) or changed:
            self.version = following

    def changes(self, since: int | None = None) -> bytes:
        """Return what has changed since a version, as JSON; see `botvisor.web`.

        Args:
            since: the version; everything is told when it is None, or too old.
        """
        if self._changes[0] != self.version:
            self._changes = (self.version, {})
        made = self._changes[1]
        if since not in made:
            made[since] = msgspec.json.encode(self._changed(since))
        return made[since]

    def _changed(self, since: int | None) -> dict[str, Any]:
        reset = since is None or since < self._known_since
        known = 0 if since is None or reset else since
        return {
            **self.state(),
            "version": self.version,
            "reset": reset,
            "bots": [each.shown() for each in self.bots.values() if each.version > known],
            "gone": [] if reset else [bot_id for bot_id, at in self._gone.items() if at > known],
        }

    def _take_state(self, away: str | None, problem: str | None) -> bool:
        old = (self.away, self.problem)
        self.away, self.problem = away, problem
        return old != (away, problem)

    def _age(self, now: float, following: int) -> bool:
        """Mark what the last look has not seen; return whether there was any."""
        old = {bot_id: seen for bot_id, seen in self.bots.items() if seen.fresh and seen.at < now}
        for bot_id, seen in old.items():
            self.bots[bot_id] = msgspec.structs.replace(seen, fresh=False, version=following)
        return bool(old)

    def _forget(self) -> None:
        while len(self._gone) > _GONE_LIMIT:
            bot_id = next(iter(self._gone))
            self._known_since = max(self._known_since, self._gone.pop(bot_id))


def _lasting(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _TICKING}


def _beat(heartbeat: Heartbeat) -> tuple[str, int, str]:
    return (heartbeat.instance, heartbeat.seq, heartbeat.timestamp)
