"""The `botvisor` command: its arguments, its exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import anyio

from botvisor.config import Settings, load_settings
from botvisor.errors import BotvisorError

from .commands import control, ps, send

_EPILOG = """\
examples:
  botvisor ps                                     the bots of this host, how they are, who is with them
  botvisor send ada "wrap up" --wait 5            to the bot ada; wait until it has handled the message
  botvisor send https://example.daily.co/x "hi"   to the bot that serves that room, now or later
  botvisor stop ada                               as SIGTERM does: its inbox ends, it has its grace

Each command has a --help of its own. The settings come from the environment, as the bots' own do:
docs/wire.md names BOT_HEARTBEAT_DIR, BOT_ADMIN_MESSAGE_DIR and all the others.
Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong; 3 Redis is away, and only this host's
spool has the message; 4 the awaited state was not reached.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        code = anyio.run(_run, options, load_settings())
        sys.stdout.flush()
        return code
    except (BotvisorError, ValueError) as error:
        print(f"botvisor: {error}", file=sys.stderr)  # noqa: T201 - a command for a terminal
        return 1
    except BrokenPipeError:
        # Who reads has left, as `head` does: nobody is to be told, the interpreter at its end included.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


async def _run(options: argparse.Namespace, settings: Settings) -> int:
    code: int = await options.command(options, settings)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="botvisor",
        description="See the bots that run, send them messages, and stop them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    one = _add(commands, "ps", ps, "list the bots, their health and when they were last seen")
    one.add_argument("--all", action="store_true", help="also those that stopped or were lost")

    one = _add(commands, "send", send, "send a message to a bot, or to the bot of a room")
    one.add_argument("target", metavar="BOT|ROOM", help="a bot's id, or a room's URL")
    one.add_argument("text", metavar="TEXT", help="what to say")
    one.add_argument(
        "--wait", type=_seconds, metavar="S", help="wait up to S seconds for the bot to handle it"
    )
    one.add_argument("--mode", choices=["immediate", "queued"], default="queued", help="default: queued")
    one.add_argument("--sender", metavar="NAME", help="who you are, as the bot is told")
    one.add_argument(
        "--durable",
        action="store_true",
        help="keep a copy on this host until it is handled: a bot or a client here sends it again if Redis "
        "loses its memory",
    )
    one.add_argument(
        "--spool",
        action="store_true",
        help="while Redis is away take this host's spool for a bot elsewhere, too: a bot or a client here "
        "brings it to Redis later",
    )

    for name, text in (
        ("stop", "stop a bot, as SIGTERM does"),
        ("drain", "let a bot take no more messages, and end when its main ends"),
    ):
        one = _add(commands, name, control, text)
        one.add_argument("target", metavar="BOT", help="the bot's id")
    one = _add(commands, "restart", control, "restart one actor of a bot; its restart budget is not charged")
    one.add_argument("target", metavar="BOT", help="the bot's id")
    one.add_argument("actor", metavar="ACTOR", choices=["identity", "heartbeat", "inbox"], help="%(choices)s")
    return parser


def _add(commands: Any, name: str, command: Any, text: str) -> argparse.ArgumentParser:
    description = f"{text[0].upper()}{text[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=description)
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.set_defaults(command=command, name=name, actor=None)
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 to a million, not {text!r}")
    return value


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from botvisor import __version__  # to look it up takes 20 ms, which no other command needs

        print(f"botvisor {__version__}")  # noqa: T201 - a command for a terminal
        parser.exit()
