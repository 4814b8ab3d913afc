"""What each command does: it prints, and returns an exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

import msgspec
from loguru import logger

from botvisor import liveness
from botvisor.client import open_client
from botvisor.config import Settings
from botvisor.heartbeat import Heartbeat

from .table import table

SPOOLED = 3
NOT_REACHED = 4


async def ps(options: Namespace, settings: Settings) -> int:
    """List the bots."""
    _quiet()
    async with open_client(settings) as client:
        found = await client.heartbeats()
    rows = [_row(heartbeat, settings) for heartbeat in found]
    if not options.all:
        rows = [row for row in rows if row["status"] not in liveness.ENDED]
    rows.sort(key=lambda row: str(row["bot_id"]))
    if options.json:
        _print_json(rows)
    elif not rows:
        _print("no bots" if options.all else "no live bots (--all shows those that ended)")
    else:
        _print(table(_COLUMNS, [[_shown(row[name]) for name in _FIELDS] for row in rows]))
    return 0


async def send(options: Namespace, settings: Settings) -> int:
    """Send a message."""
    _quiet()
    async with open_client(settings, one_shot=True) as client:
        receipt = await client.send(
            options.target,
            options.text,
            wait=options.wait,
            mode=options.mode,
            sender_name=options.sender,
            durable=options.durable,
            spool=options.spool,
        )
    if options.json:
        _print_json(receipt)
    else:
        at_ms = {"stored": receipt.stored_ms, "handled": receipt.handled_ms}.get(
            receipt.state, receipt.delivered_ms
        )
        _print(f"{receipt.id} {receipt.state} after {at_ms or 0:.0f} ms ({receipt.where})")
    if options.wait is not None:
        return 0 if receipt.state == "handled" else NOT_REACHED
    if settings.use_redis and receipt.where.startswith("spool@"):
        print(f"botvisor: Redis is away: only {receipt.where} has the message", file=sys.stderr)  # noqa: T201
        return SPOOLED
    return 0


async def control(options: Namespace, settings: Settings) -> int:
    """Send a control command."""
    _quiet()
    arguments = {"actor": options.actor} if options.actor else {}
    async with open_client(settings) as client:
        heartbeat = await client.heartbeat(options.target)
        if heartbeat is None or liveness.status(heartbeat, settings.heartbeat_stale_s) in liveness.ENDED:
            print(f"botvisor: no live bot {options.target}", file=sys.stderr)  # noqa: T201
            return 1
        control_id = await client.control(options.target, options.name, **arguments)
    if options.json:
        _print_json({"bot_id": options.target, "command": options.name, "id": control_id})
    else:
        _print(f"told {options.target} to {options.name}{' ' + options.actor if options.actor else ''}")
    return 0


_FIELDS = (
    "bot_id", "host", "pid", "room_url", "participants", "status", "uptime_s", "restarts", "lag_ms",
    "backend", "last_seen_s",
)  # fmt: skip
_COLUMNS = ("BOT", "HOST", "PID", "ROOM", "WHO", "STATUS", "UP", "RESTARTS", "LAG", "BACKEND", "SEEN")


def _row(heartbeat: Heartbeat, settings: Settings) -> dict[str, Any]:
    health = heartbeat.health
    return {
        "bot_id": heartbeat.bot_id,
        "host": heartbeat.host,
        "pid": heartbeat.pid,
        "room_url": heartbeat.room_url,
        "participants": list(heartbeat.participants),
        "status": liveness.status(heartbeat, settings.heartbeat_stale_s),
        "uptime_s": health.get("uptime_s"),
        "restarts": health.get("restarts"),
        "lag_ms": health.get("lag_ms"),
        "backend": health.get("backend"),
        "last_seen_s": round(liveness.age_s(heartbeat), 1),
        "epitaph": heartbeat.epitaph,
    }


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return str(len(value))
    return "-" if value in (None, "") else str(value)


def _quiet() -> None:
    logger.disable("botvisor")  # a command answers; what it does inside is no news


def _print(text: str) -> None:
    print(text)  # noqa: T201 - a command for a terminal


def _print_json(document: Any) -> None:
    _print(msgspec.json.encode(document).decode())
