"""`botvisor stop`, `drain` and `restart`: what a bot is told, and its `main` never sees."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from botvisor import liveness
from botvisor.client import open_client
from botvisor.config import Settings
from botvisor.errors import NotStored

from .arguments import BOT_HELP, add_command
from .output import complain, say, say_json

_EPILOG = """\
The bot does so within a second or two. It ends with 1 when there is no such live bot.
"""
_ACTORS = ("identity", "heartbeat", "inbox")  # of every bot


def add(commands: Any) -> None:
    """Add the commands to the program."""
    for name, text in (
        ("stop", "stop a bot, as SIGTERM does"),
        ("drain", "let a bot take no more messages, and end when its main ends"),
    ):
        one = add_command(commands, name, control, text, _EPILOG)
        one.add_argument("target", metavar="BOT", help=BOT_HELP)
        one.set_defaults(actor=None)
    text = "restart one actor of a bot; its restart budget is not charged"
    one = add_command(commands, "restart", control, text, _EPILOG)
    one.add_argument("target", metavar="BOT", help=BOT_HELP)
    one.add_argument("actor", metavar="ACTOR", help=f"{', '.join(_ACTORS)}, or one that its author started")


async def control(options: Namespace, settings: Settings) -> int:
    """Send a control command."""
    arguments = {"actor": options.actor} if options.actor else {}
    async with open_client(settings, one_shot=True) as client:
        heartbeat = await client.heartbeat(options.target)
        if heartbeat is None or liveness.status(heartbeat, settings.heartbeat_stale_s) in liveness.ENDED:
            away = client.away()
            where = f" on this host, and Redis is away ({away})" if away is not None else ""
            complain(f"no live bot {options.target}{where}")
            return 1
        actors = (*_ACTORS, *heartbeat.health.get("actors", ()))
        if options.actor is not None and options.actor not in actors:
            complain(f"bot {options.target} has no actor {options.actor}: it has {', '.join(actors)}")
            return 1
        try:
            control_id = await client.control(options.target, options.name, **arguments)
        except NotStored as error:
            complain(f"{options.target} was not told to {options.name}: {error.reason}")
            return 1
    if options.json:
        say_json({"bot_id": options.target, "command": options.name, "id": control_id})
    else:
        say(f"told {options.target} to {options.name}{' ' + options.actor if options.actor else ''}")
    return 0
