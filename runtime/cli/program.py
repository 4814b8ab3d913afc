"""The `botvisor` command: its arguments, its exit codes."""

from __future__ import annotations

import argparse
import inspect
import os
import sys
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import parse_qsl, urlsplit

import anyio
from loguru import logger

from botvisor.config import Settings, load_settings
from botvisor.errors import BotvisorError

from . import clean, control, doctor, identities, inbox, ps, reap, run, send, top, web, why
from .arguments import Help, add_redis_url
from .output import complain

_COMMANDS = (ps, top, why, send, inbox, identities, control, doctor, reap, clean, run, web)

_EPILOG = """\
examples:
  botvisor ps                                     the bots, how they are, who is with them
  botvisor top                                    the same live, with a key to message, drain or stop one
  botvisor why ada                                what ada is doing, or how she ended
  botvisor send ada "wrap up" --wait 5            to the bot ada; wait until it has handled the message
  botvisor send https://example.daily.co/x "hi"   to the bot that serves that room, now or later
  botvisor inbox ada                              what waits for ada, what she has, what was given up
  botvisor stop ada                               as SIGTERM does: its inbox ends, it has its grace
  botvisor doctor                                 what is wrong with the settings, Redis, the directories

Each command has a --help of its own. The settings come from the environment, as the bots' own do:
docs/wire.md names BOT_HEARTBEAT_DIR, BOT_ADMIN_MESSAGE_DIR and all the others.

Exit codes: 0 done; 1 it could not be done; 2 the command line is wrong; 3 Redis did not take the
message, and only this host's spool has it; 4 the awaited state was not reached; 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: the command line without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except (BotvisorError, ValueError) as error:
        complain(str(error))
        return 1
    except BrokenPipeError:
        # Who reads has left, as `head` does: nobody is to be told, the interpreter at its end included.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    code: int
    if not inspect.iscoroutinefunction(options.command):  # it has an event loop of its own
        code = options.command(options, lambda: _settings(options))
        return code
    settings = _settings(options)
    logger.disable("botvisor")  # a command answers; what it does inside is no news

    async def program() -> int:
        done: int = await options.command(options, settings)
        return done

    return anyio.run(program)


def _settings(options: argparse.Namespace) -> Settings:
    url = options.redis_url
    if url is None:
        return load_settings()
    if _holds_password(url):
        complain(
            "the password in --redis-url can be read by everybody on this host, as the command line of this "
            "process: put it into REDIS_SHARED_SECRET or REDIS_PASSWORD_FILE"
        )
    return load_settings(over={"USE_REDIS": "true", "REDIS_URL": url})


def _holds_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or any("password" in name for name, _ in parse_qsl(parts.query))
    except ValueError:
        return False  # what is wrong with it is told by the settings


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; its parts know their commands."""
    top = argparse.ArgumentParser(
        prog="botvisor",
        description="See the bots that run, send them messages, mend what is wrong, and stop them.",
        epilog=_EPILOG,
        formatter_class=Help,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    add_redis_url(top)
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add(commands)
    return top


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from botvisor import __version__  # to look it up takes 20 ms, which no other command needs

        print(f"botvisor {__version__}")  # noqa: T201 - a command for a terminal
        parser.exit()
