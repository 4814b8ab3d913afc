"""`botvisor reap`: finds bots that hang, and ends their processes if it is told to."""

from __future__ import annotations

import functools
import signal
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

import anyio
import anyio.to_thread

from botvisor import liveness, process, zombies
from botvisor.client import Client, open_client
from botvisor.config import Settings
from botvisor.fleet.rows import blocked_of
from botvisor.fleet.words import duration
from botvisor.heartbeat import Heartbeat
from botvisor.pid_signal import Target
from botvisor.zombies import Suspicion

from .arguments import add_command, seconds
from .output import complain, say, say_json, warn_if_away
from .table import show

_EPILOG = """\
A zombie is a bot whose process lives, and whose heartbeat is stale (BOT_HEARTBEAT_STALE_SECS) at
BOT_ZOMBIE_REQUIRED_STALE_HITS looks in a row, which are BOT_SERVER_REAP_INTERVAL_SECS apart; 0 switches
reaping off. Nobody is a zombie within BOT_ZOMBIE_SPAWN_GRACE_SECS of its start.

Without --kill zombies are only shown. With it each one of this host gets SIGTERM, and SIGKILL if it is
still there --grace seconds later. A process is signalled only when its start time, its boot id and its
pid namespace are those in the heartbeat, through a pidfd where the system has them: whoever has the pid
by now is left alone.

With --json: a list of {bot_id, host, pid, verdict, age_s, blocked, action}.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    one = add_command(commands, "reap", reap, "show bots that hang, and with --kill end them", _EPILOG)
    one.add_argument("--kill", action="store_true", help="end them")
    one.add_argument(
        "--grace", type=seconds, default=5.0, metavar="S", help="between SIGTERM and SIGKILL; default: 5"
    )


async def reap(options: Namespace, settings: Settings) -> int:
    """Find zombies."""
    if settings.server_reap_interval_s == 0:
        complain("reaping is switched off: BOT_SERVER_REAP_INTERVAL_SECS is 0")
        if options.json:
            say_json([])
        return 0
    async with open_client(settings) as client:
        found, suspicions = await _look(client, settings)
        warn_if_away(client.away(), "only the bots in this host's files are looked at")
    rows = [_row(found[bot_id], suspicions[bot_id], settings) for bot_id in sorted(found)]
    rows = [row for row in rows if row["verdict"] in ("zombie", "suspect")]
    if options.kill:
        async with anyio.create_task_group() as group:
            for row in rows:
                if row["verdict"] == "zombie":
                    group.start_soon(_end, row, found[row["bot_id"]], options.grace)
    if options.json:
        say_json(rows)
    elif rows:
        say(_table(rows))
        if not options.kill and any(row["action"] == "would be ended" for row in rows):
            say("nothing was done: --kill ends them")
    else:
        say("no zombies")
    return 0


async def _look(
    client: Client, settings: Settings
) -> tuple[Mapping[str, Heartbeat], Mapping[str, Suspicion]]:
    """Look at the fleet as often as the rules want it; less often if nobody is suspected."""
    suspicions: dict[str, Suspicion] = {}
    found: dict[str, Heartbeat] = {}
    for hit in range(settings.zombie_required_stale_hits):
        if hit:
            await anyio.sleep(settings.server_reap_interval_s)
        found = {beat.bot_id: beat for beat in await client.heartbeats()}
        suspicions = {
            bot_id: _suspect(beat, suspicions.get(bot_id), settings) for bot_id, beat in found.items()
        }
        if not any(suspicion.hits for suspicion in suspicions.values()):
            break
    return found, suspicions


def _suspect(heartbeat: Heartbeat, before: Suspicion | None, settings: Settings) -> Suspicion:
    age_s = liveness.age_s(heartbeat)
    return zombies.look(
        heartbeat,
        before,
        age_s=age_s,
        uptime_s=zombies.uptime_s(heartbeat, age_s, time.time()),
        stale_s=settings.heartbeat_stale_s,
        grace_s=settings.zombie_spawn_grace_s,
    )


def _row(heartbeat: Heartbeat, suspicion: Suspicion, settings: Settings) -> dict[str, Any]:
    age_s = liveness.age_s(heartbeat)
    up_s = zombies.uptime_s(heartbeat, age_s, time.time())
    gone = process.gone(liveness.owner(heartbeat))
    verdict = zombies.judge(
        suspicion,
        gone=gone,
        stopped=heartbeat.status == "stopped",
        young=up_s is not None and up_s < settings.zombie_spawn_grace_s,
        required_hits=settings.zombie_required_stale_hits,
    )
    action = ""
    if verdict == "zombie":
        action = (
            "would be ended"
            if gone is False
            else f"cannot be judged from here: look on {heartbeat.host or '?'}"
        )
    return {
        "bot_id": heartbeat.bot_id,
        "host": heartbeat.host,
        "pid": heartbeat.pid,
        "verdict": verdict,
        "age_s": round(age_s, 1),
        "blocked": blocked_of(heartbeat),
        "action": action,
    }


async def _end(row: dict[str, Any], heartbeat: Heartbeat, grace_s: float) -> None:
    row["action"] = await anyio.to_thread.run_sync(
        functools.partial(_end_process, heartbeat, grace_s), abandon_on_cancel=True
    )


def _end_process(heartbeat: Heartbeat, grace_s: float) -> str:
    """End a bot's process, in a thread. Returns what was done, in words."""
    with Target(liveness.owner(heartbeat)) as target:
        outcome = target.send(signal.SIGTERM)
        if outcome == "sent":
            if target.ended_within(grace_s):
                return "ended by SIGTERM"
            outcome = target.send(signal.SIGKILL)
            if outcome in ("sent", "gone"):
                return "ended by SIGKILL"
    return {
        "gone": "has ended by itself",
        "forbidden": "belongs to another user: not signalled",
        "unknown": f"cannot be judged from here: look on {heartbeat.host or '?'}",
    }[outcome]


def _table(rows: list[dict[str, Any]]) -> str:
    cells = [
        [
            row["bot_id"],
            row["host"] or "-",
            str(row["pid"]),
            row["verdict"],
            duration(row["age_s"]),
            f"{row['blocked']['file']}:{row['blocked']['line']}" if row["blocked"] else "-",
            row["action"] or "-",
        ]
        for row in rows
    ]
    return show(
        ["BOT", "HOST", "PID", "VERDICT", "SILENT", "STANDS AT", "ACTION"], cells, ("STANDS AT", "HOST")
    )
