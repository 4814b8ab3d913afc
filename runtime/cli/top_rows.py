"""The rows of `botvisor top`: which, in which order, how they fit. Decides, and draws nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from rich.cells import cell_len

from botvisor import liveness
from botvisor.fleet.board import Snapshot
from botvisor.fleet.views import figures_of
from botvisor.fleet.words import duration, lag, printable

GAP = 2
TREND = 12  # heartbeats
_BARS = "▁▂▃▄▅▆▇█"
# From 10 ms a lag can be heard, from 100 ms on people notice.
BAR_COLOURS = dict(zip(_BARS, ["green"] * 3 + ["yellow"] * 2 + ["red"] * 3, strict=True))

_LAGS_MS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # from which a bar is one step higher
_SEVERITY = {
    "blocked": 0,
    "lost": 1,
    "degraded": 2,
    "draining": 4,
    "starting": 5,
    "healthy": 6,
    "stopped": 7,
}
_STRANGE = 3  # a status of another version
_SEARCHED = ("bot_id", "host", "room_url", "status", "backend", "note")


class Column(NamedTuple):
    """A column.

    Args:
        title: its title.
        name: the field of a row that it shows.
        least: how narrow its texts may be cut, in characters.
        most: how wide it may be.
        right: whether it is flush right.
    """

    title: str
    name: str
    least: int
    most: int
    right: bool = False


COLUMNS = (
    Column("BOT", "bot_id", 20, 40),
    Column("HOST", "host", 10, 24),
    Column("PID", "pid", 7, 7, right=True),
    Column("ROOM", "room_url", 24, 60),
    Column("WHO", "participant_count", 4, 4, right=True),
    Column("STATUS", "status", 8, 8),
    Column("UP", "uptime_s", 6, 6, right=True),
    Column("RESTARTS", "restarts", 9, 9, right=True),
    Column("LAG", "lag_ms", 8, 8, right=True),
    Column("TREND", "", TREND, TREND, right=True),
    Column("BACKEND", "backend", 10, 10),
    Column("SEEN", "last_seen_s", 6, 6, right=True),
    Column("NOTE", "note", 24, 200),
)
# On a narrow terminal these go, one after the other.
_EXPENDABLE = ("PID", "BACKEND", "HOST", "RESTARTS", "WHO", "ROOM", "NOTE", "UP", "TREND", "LAG")
_SORTABLE = ("STATUS", "LAG", "RESTARTS", "UP", "SEEN", "WHO", "HOST", "ROOM", "BOT")
_LARGEST_FIRST = frozenset({"LAG", "RESTARTS", "SEEN", "WHO"})


class View(msgspec.Struct, frozen=True):
    """What somebody wants to see of the fleet, and in which order.

    Args:
        by: the title of the column to sort by.
        reverse: whether the other way round than usual: what is worst comes first.
        words: what a bot's row must hold, in any case; empty filters nothing.
        dead: also those that stopped or were lost.
    """

    by: str = _SORTABLE[0]
    reverse: bool = False
    words: str = ""
    dead: bool = False

    def sorted_by_next(self) -> View:
        """Return the view that is sorted by another column."""
        following = (_SORTABLE.index(self.by) + 1) % len(_SORTABLE)
        return msgspec.structs.replace(self, by=_SORTABLE[following], reverse=False)

    @property
    def arrow(self) -> str:
        """Which way the column is sorted, for its title."""
        return "▼" if (self.by in _LARGEST_FIRST) != self.reverse else "▲"

    def of(self, sightings: Iterable[Snapshot]) -> list[Snapshot]:
        """Return the bots that are wanted, sorted; what is not known comes last, either way."""
        words = self.words.lower().split()
        rows = [each for each in sightings if self._wants(each.row, words)]
        rows.sort(key=lambda each: str(each.row["bot_id"]))
        known, unknown = [], []
        for each in rows:
            key = _key(each, self.by)
            if key is None:
                unknown.append(each)
            else:
                known.append((key, each))
        known.sort(key=lambda pair: pair[0], reverse=(self.by in _LARGEST_FIRST) != self.reverse)
        return [each for _, each in known] + unknown

    def _wants(self, row: Mapping[str, Any], words: Sequence[str]) -> bool:
        if not self.dead and row["status"] in liveness.ENDED:
            return False
        if not words:
            return True
        searched = " ".join([*(str(row[name]) for name in _SEARCHED), *row["participants"]]).lower()
        return all(word in searched for word in words)


def layout(rows: Sequence[Snapshot], width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit, and how wide each is.

    Args:
        rows: all rows, those that are not on the screen included: to scroll is not to move the columns.
        width: the screen's, in characters.
    """
    wanted = {column: _wanted(column, rows) for column in COLUMNS if column.title != "NOTE" or _noted(rows)}
    least = {column: min(column.least, wants) for column, wants in wanted.items()}
    for title in _EXPENDABLE:
        if sum(least.values()) + GAP * (len(least) - 1) <= width:
            break
        least = {column: takes for column, takes in least.items() if column.title != title}
    left = width - sum(least.values()) - GAP * (len(least) - 1)
    found = []
    for column, takes in least.items():
        more = max(0, min(left, wanted[column] - takes))
        left -= more
        found.append((column, takes + more))
    return found


def cell(column: Column, sighting: Snapshot) -> str:
    """Return what a column shows of a bot."""
    match column.name:
        case "uptime_s" | "last_seen_s":
            return duration(sighting.row[column.name])
        case "lag_ms":
            return lag(lag_ms(sighting))
    return _value(column, sighting)


def lag_ms(sighting: Snapshot) -> float | None:
    """Return a bot's lag; that of a blocked one is for how long it has been so."""
    told = figures_of(sighting.heartbeat)[0]
    if told is None or sighting.row["status"] != "blocked":
        return told
    return told + (sighting.row["last_seen_s"] or 0.0) * 1000


def bar(value: float | None) -> str:
    """Return the bar of a lag in ms: one scale for all bots, from 1 ms to 1 s, by its logarithm."""
    if value is None or math.isnan(value):
        return " "
    return _BARS[sum(value >= limit for limit in _LAGS_MS)]


def count(sightings: Iterable[Snapshot]) -> str:
    """Return how many bots there are, and how they are, the worst first."""
    found = Counter(each.row["status"] for each in sightings)
    ended = sum(found.pop(status, 0) for status in liveness.ENDED)
    worst_first = sorted(found, key=lambda status: (_SEVERITY.get(status, _STRANGE), status))
    each = ", ".join(f"{found[status]} {status}" for status in worst_first)
    live = f"{found.total()} live{f': {each}' if each else ''}"
    return f"{live}; {ended} ended" if ended else live


def about(sighting: Snapshot) -> str:
    """Return what the columns may have no room for, in a line."""
    row = sighting.row
    process = f"{row['host'] or '?'}:{row['pid']:g}" if row["pid"] else row["host"]
    return printable("  ".join(filter(None, (row["bot_id"], process, row["room_url"], row["note"]))))


def _noted(rows: Iterable[Snapshot]) -> bool:
    return any(each.row["note"] for each in rows)


def _wanted(column: Column, rows: Iterable[Snapshot]) -> int:
    """Return how wide a column would be if there were room for all."""
    if column.right:
        return column.most  # figures change: their columns are not to move each time
    longest = max((cell_len(_value(column, each)) for each in rows), default=0)
    return min(column.most, max(longest, len(column.title) + 1))


def _value(column: Column, sighting: Snapshot) -> str:
    value = sighting.row[column.name]
    if column.name == "room_url":
        return printable(value.removeprefix("https://")) or "-"
    if column.name == "note":
        return printable(value)
    return "-" if value in (None, "") else f"{value:g}" if isinstance(value, float) else printable(str(value))


def _key(sighting: Snapshot, title: str) -> Any:
    name = next(column.name for column in COLUMNS if column.title == title)
    match title:
        case "STATUS":
            return _SEVERITY.get(sighting.row[name], _STRANGE)
        case "LAG":
            return lag_ms(sighting)
        case "BOT" | "HOST" | "ROOM":
            return str(sighting.row[name]).lower() or None
    return sighting.row[name]
