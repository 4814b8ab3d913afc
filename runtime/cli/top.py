"""`botvisor top`: the fleet, live on a terminal."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskStatus

from botvisor.client import open_client
from botvisor.config import Settings

from .arguments import add_command, seconds
from .output import complain

if TYPE_CHECKING:
    from .top_app import TopApp

_NEEDED = ("rich", "textual")
_SOONEST_S = 0.5
_EPILOG = """\
The columns are those of `botvisor ps`, and TREND: the lag of the last heartbeats, on one scale for all
bots, from 1 ms to 1 s. While no store answers the table stays, marked with the time it is of.

  up, down         choose a bot         s   sort by another column
  Enter            why it is so         r   the other way round
  m                send it a message    /   show those that have these words
  d, x             drain it, stop it    a   also those that ended
  t                dump its stacks      ?   all keys; q ends it
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "watch the bots live; message, drain and stop them"
    one = add_command(commands, "top", top, text, _EPILOG, answers=False)
    one.add_argument(
        "--every", type=_pause, default=2.0, metavar="S", help="seconds between looks; default: %(default)g"
    )


async def top(options: Namespace, settings: Settings) -> int:
    """Watch the bots."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        complain("top needs a terminal that can be drawn on: `botvisor ps` lists the bots anywhere")
        return 2
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        complain("top needs what `pip install 'botvisor[ops]'` installs")
        return 1
    from botvisor.fleet.watch import Watch

    from .top_app import TopApp

    async with open_client(settings) as client, anyio.create_task_group() as group:
        watch = Watch(client, settings, options.every, sender="botvisor top")
        app = TopApp(client, watch)
        group.start_soon(watch.run)
        await group.start(_end_by_signal, app)
        await app.run_async()
        group.cancel_scope.cancel()
    return app.return_code or 0


async def _end_by_signal(app: TopApp, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    # Left to itself such a signal leaves the terminal as it is drawn on.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            app.exit(return_code=128 + number)


def _pause(text: str) -> float:
    value = seconds(text)
    if value < _SOONEST_S:
        raise argparse.ArgumentTypeError(f"at least {_SOONEST_S:g} s, not {text!r}")
    return value
