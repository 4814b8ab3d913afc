"""`botvisor ps`: the bots, their health, and when they were last seen."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from botvisor.client import open_client
from botvisor.config import Settings
from botvisor.fleet.rows import STATUSES, Filters, note_of, rows_of
from botvisor.fleet.words import duration, lag

from .arguments import add_command
from .output import say, say_json, warn_if_away
from .table import show

_EPILOG = """\
STATUS is one of starting, healthy, degraded (an actor rests, or the backend is not the usual one),
draining, blocked (its event loop does not turn: `botvisor why BOT` names the line), stopped (it left
its last words) and lost (it ended without any). LAG is its event loop's, SEEN how long ago its last
heartbeat was written.

examples:
  botvisor ps --all                         also those that ended, with their last words
  botvisor ps --status blocked --status lost
  botvisor ps --room https://example.daily.co/x --wide
  botvisor ps --json | jq '.[] | select(.lag_ms > 100) | .bot_id'

It ends with 0 whenever it could answer, an empty fleet and a sick bot included.
"""
_COLUMNS = {
    "BOT": "bot_id", "HOST": "host", "PID": "pid", "ROOM": "room_url", "WHO": "participants",
    "STATUS": "status", "UP": "uptime_s", "RESTARTS": "restarts", "LAG": "lag_ms", "BACKEND": "backend",
    "SEEN": "last_seen_s",
}  # fmt: skip
# On a narrow terminal these go, one after the other.
_EXPENDABLE = ("PID", "BACKEND", "RESTARTS", "HOST", "WHO", "LAG", "UP", "ROOM")
_ELASTIC = {"ROOM": 24, "NOTE": 24}


def add(commands: Any) -> None:
    """Add the command to the program."""
    one = add_command(commands, "ps", ps, "list the bots, their health and when they were last seen", _EPILOG)
    one.add_argument("--all", action="store_true", help="also those that stopped or were lost")
    one.add_argument("--room", action="append", default=[], metavar="URL", help="those of this room")
    one.add_argument(
        "--status",
        action="append",
        default=[],
        choices=STATUSES,
        metavar="STATUS",
        help="those with this status; may be repeated",
    )
    one.add_argument("--host", action="append", default=[], metavar="NAME", help="those on this host")
    one.add_argument(
        "--wide",
        action="store_true",
        help="also what each backend was asked for: operations, errors, p50 and p99, retries, fallbacks",
    )


async def ps(options: Namespace, settings: Settings) -> int:
    """List the bots."""
    filters = Filters(
        options.all, options.room, options.status, options.host, settings.canonicalize_lower_path
    )
    async with open_client(settings) as client:
        found = await client.heartbeats()
        away = client.away()
    rows = rows_of(found, settings.heartbeat_stale_s, filters)
    warn_if_away(away, "these are the bots that this host's files tell of")
    if options.json:
        say_json(rows)
    elif rows:
        say(_table(rows, wide=options.wide))
    elif options.room or options.status or options.host:
        say("no such bots")
    else:
        say("no bots" if options.all else "no live bots (--all shows those that ended)")
    return 0


def _table(rows: list[dict[str, Any]], *, wide: bool) -> str:
    columns = list(_COLUMNS)
    cells = [[_shown(name, row[name]) for name in _COLUMNS.values()] for row in rows]
    if wide:
        columns.append("OPERATIONS")
        for row, line in zip(rows, cells, strict=True):
            line.append("; ".join(_operations(*each) for each in row["backends"].items()) or "-")
    notes = [note_of(row) for row in rows]
    if any(notes):
        columns.append("NOTE")
        for note, line in zip(notes, cells, strict=True):
            line.append(note)
    return show(columns, cells, () if wide else _EXPENDABLE, _ELASTIC)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    if name in ("uptime_s", "last_seen_s"):
        return duration(value)
    if name == "lag_ms":
        return lag(value)
    return "-" if value in (None, "") else str(value)


def _operations(backend: str, figures: dict[str, Any]) -> str:
    parts = [f"{backend} {figures['operations']} ops"]
    if figures["errors"]:
        parts.append(f"{figures['errors']} errors")
    parts.append(f"p50 {figures['p50_ms']} ms p99 {figures['p99_ms']} ms")
    parts += [f"{figures[name]} {name}" for name in ("retries", "fallbacks") if figures[name]]
    return ", ".join(parts)
