"""What the commands' arguments have in common."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

BOT_HELP = "the bot's id, as `botvisor ps` shows it"


class Help(argparse.HelpFormatter):
    """Fills paragraphs to the terminal's width, and leaves those alone that have indented lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            textwrap.indent(each, indent)
            if any(line.startswith(" ") for line in each.split("\n"))
            else textwrap.fill(each, width, initial_indent=indent, subsequent_indent=indent)
            for each in paragraphs
        )


def add_command(
    commands: Any, name: str, command: Any, text: str, epilog: str = "", *, answers: bool = True
) -> argparse.ArgumentParser:
    """Add a command to the program.

    Args:
        commands: what `add_subparsers` returned.
        name: its name.
        command: what carries it out: given the options and the settings it returns the exit code.
        text: what it does, in a sentence without its dot.
        epilog: examples, and what else its help should teach.
        answers: whether it has an answer that can be had as JSON.

    Returns:
        Its parser; if it answers, ``--json`` is there already.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=Help,
        allow_abbrev=False,
    )
    if answers:
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    add_redis_url(parser, default=argparse.SUPPRESS)
    parser.set_defaults(command=command, name=name)
    return parser


def add_redis_url(parser: argparse.ArgumentParser, default: Any = None) -> None:
    """Let a parser take ``--redis-url``, before the command and behind it."""
    parser.add_argument(
        "--redis-url",
        metavar="URL",
        default=default,
        help="use this Redis, whatever USE_REDIS and REDIS_URL say; its password is for REDIS_SHARED_SECRET",
    )


def seconds(text: str) -> float:
    """Return a number of seconds that somebody typed."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"a number of seconds from 0 to a million, not {text!r}")
    return value
