"""`botvisor why BOT`: what it is doing, or how it ended."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import anyio

from botvisor import liveness, process
from botvisor.client import Client, open_client
from botvisor.config import Settings
from botvisor.fleet.summary import Sighting, ledger, since_s, summary, where
from botvisor.fleet.words import printable
from botvisor.heartbeat import Heartbeat

from .arguments import BOT_HELP, add_command
from .output import complain, paragraph, say, say_json, warn_if_away

_STACK_WAIT_S = 3.0
_EPILOG = """\
One paragraph: its status and since when; where it is blocked, if it is; what keeps it from running;
which backend it uses; what waits for it. Below it the stack that blocks it, and its ledger, the last
exits of its actors.

With --json: {bot_id, status, since_s, summary, where: {file, line, function} or null, ledger: [...]}.
It ends with 0 whenever it could answer, however the bot is; with 1 when nobody knows the bot.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "tell what a bot is doing, or how it ended"
    one = add_command(commands, "why", why, text, _EPILOG)
    one.add_argument("target", metavar="BOT", help=BOT_HELP)
    one.add_argument(
        "--stack", action="store_true", help="also ask a bot that is not blocked where its tasks stand"
    )


async def why(options: Namespace, settings: Settings) -> int:
    """Tell about a bot."""
    bot_id = options.target
    async with open_client(settings) as client:
        heartbeat = await client.heartbeat(bot_id)
        away = client.away()
        if heartbeat is None:
            if away is None:
                complain(f"no bot {bot_id} is known: `botvisor ps --all` lists those that are")
            else:
                complain(f"no bot {bot_id} is known to this host's files, and Redis is away ({away})")
            return 1
        held = [message for _, message in await client.inbox(bot_id)]
        status = liveness.status(heartbeat, settings.heartbeat_stale_s)
        if options.stack and status not in (*liveness.ENDED, "blocked"):
            heartbeat = await _with_stack(client, heartbeat)
            status = liveness.status(heartbeat, settings.heartbeat_stale_s)
    sighting = Sighting(
        heartbeat=heartbeat,
        status=status,
        age_s=liveness.age_s(heartbeat),
        gone=process.gone(liveness.owner(heartbeat)),
        messages=held,
        now=time.time(),
    )
    warn_if_away(away, "this is what this host's files tell")
    if options.json:
        say_json(
            {
                "bot_id": bot_id,
                "status": status,
                "since_s": since_s(sighting),
                "summary": summary(sighting),
                "where": where(sighting),
                "ledger": ledger(heartbeat),
            }
        )
    else:
        say(paragraph(printable(summary(sighting))))
        for line in _details(sighting):
            say(line)
    return 0


async def _with_stack(client: Client, heartbeat: Heartbeat) -> Heartbeat:
    """Ask a bot where its tasks stand, and return the heartbeat that tells; the last one if none does."""
    await client.control(heartbeat.bot_id, "stack")
    with anyio.move_on_after(_STACK_WAIT_S):
        while True:
            await anyio.sleep(0.1)
            heartbeat = await client.heartbeat(heartbeat.bot_id) or heartbeat
            if "stack" in heartbeat.health or heartbeat.status in ("blocked", "stopped"):
                return heartbeat
    complain(f"{heartbeat.bot_id} did not tell within {_STACK_WAIT_S:g} s where its tasks stand")
    return heartbeat


def _details(sighting: Sighting) -> list[str]:
    health = sighting.heartbeat.health
    lines: list[str] = []
    blocked, stacks = health.get("blocked"), health.get("stack")
    if sighting.status == "blocked" and isinstance(blocked, dict):
        lines += _block("the stack that blocks it", str(blocked.get("stack", "")).splitlines())
    elif isinstance(stacks, dict):
        for name, text in stacks.items():
            lines += _block(f"where {name} stands", str(text).splitlines())
    entries = [entry for entry in ledger(sighting.heartbeat) if isinstance(entry, dict)]
    if entries:
        lines += _block("its ledger", [_entry(entry) for entry in entries])
    return lines


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{printable(title)}:", *(f"  {printable(line.strip())}" for line in lines if line.strip())]


def _entry(entry: dict[str, Any]) -> str:
    then = f", again after {entry['backoff_s']:.1f} s" if isinstance(entry.get("backoff_s"), float) else ""
    handling = f" on {entry['message']}" if entry.get("message") else ""
    return f"{entry.get('at', '')}  {entry.get('actor', '')}{handling}: {entry.get('error', '')}{then}"
