"""`botvisor clean`: what earlier runs left in this host's directories."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import anyio.to_thread

from botvisor import liveness
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.heartbeat import Heartbeat
from botvisor.mending import ForgetBot
from botvisor.store import Command, ListHeartbeats, Sweep

from .arguments import add_command
from .output import complain, say, say_json
from .table import show

_SWEEPS = 200
_EPILOG = """\
Deleted are the heartbeats, last words and stack dumps of bots of this host that have ended, and
whatever has expired: messages after an hour, receipts after two, dead letters, quarantine and
identities after a day, locks that nobody holds. Messages that wait stay, and so does everything of a
bot that lives, or of which nobody here can tell. Redis is left alone: there everything expires by
itself.

With --json: {bots: [...], expired: NUMBER}.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "delete what earlier runs left in this host's directories"
    one = add_command(commands, "clean", clean, text, _EPILOG)
    one.add_argument("--dry-run", action="store_true", help="only show of which bots something is left")


async def clean(options: Namespace, settings: Settings) -> int:
    """Clean up."""
    if not settings.file_fallback:
        complain("there are no directories to clean: BOT_FILE_FALLBACK is off")
        return 1
    store = FileStore(settings)

    async def ask(command: Command) -> Any:
        (answer,) = await store.execute([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    try:
        found: list[Heartbeat] = await ask(ListHeartbeats())
        ended = [beat for beat in found if liveness.has_ended(beat)]
        expired = 0
        if not options.dry_run:
            ended = [beat for beat in ended if await ask(ForgetBot(beat.bot_id, beat.instance))]
            expired = await _sweep(ask)
    finally:
        await anyio.to_thread.run_sync(store.close)
    if options.json:
        say_json({"bots": [beat.bot_id for beat in ended], "expired": expired})
        return 0
    if ended:
        rows = [
            [beat.bot_id, liveness.status(beat, settings.heartbeat_stale_s), beat.timestamp] for beat in ended
        ]
        say(show(["BOT", "STATUS", "LAST HEARD OF"], rows))
    bots = f"{len(ended)} bot{'' if len(ended) == 1 else 's'} that ended"
    files = f"{expired} expired file{'' if expired == 1 else 's'}"
    say(f"would forget {bots}" if options.dry_run else f"forgot {bots}, deleted {files}")
    return 0


async def _sweep(ask: Any) -> int:
    """Sweep until nothing is left: each sweep has little time."""
    total = 0
    for _ in range(_SWEEPS):
        removed: int = await ask(Sweep())
        total += removed
        if not removed:
            break
    return total
