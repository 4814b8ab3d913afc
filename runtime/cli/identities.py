"""`botvisor identities ROOM`: who is known there."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from botvisor.client import open_client
from botvisor.config import Settings

from .arguments import add_command
from .output import say, say_json, warn_if_away
from .table import show

_FIELDS = {"PARTICIPANT": "participant_id", "NAME": "sessionUserName", "EMAIL": "sessionUserEmail"}


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "show what is known of a room's participants"
    epilog = "The room's URL is taken as it was written by the bots: with --json every field is shown.\n"
    one = add_command(commands, "identities", identities, text, epilog)
    one.add_argument("room", metavar="ROOM", help="the room's URL")


async def identities(options: Namespace, settings: Settings) -> int:
    """Show a room's identities."""
    async with open_client(settings) as client:
        found = await client.identities(options.room)
        away = client.away()
    found.sort(key=lambda identity: str(identity["participant_id"]))
    warn_if_away(away, "this is what this host's files tell")
    if options.json:
        say_json(found)
    elif not found:
        say(f"nobody is known in {options.room}")
    else:
        cells = [
            [*(str(each.get(name) or "-") for name in _FIELDS.values()), str(each["timestamp"])]
            for each in found
        ]
        say(show([*_FIELDS, "WRITTEN"], cells, ("WRITTEN", "EMAIL")))
    return 0
