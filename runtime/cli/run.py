"""`botvisor run module:main`: runs a bot that has no script of its own."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botvisor.config import Settings, add_env_file
from botvisor.main import Main
from botvisor.run import run_bot

from .arguments import add_command, seconds
from .output import complain
from .reload import run_again_and_again

_EPILOG = """\
The module is looked for in the working directory first, as `python -m` does. MAIN is an async function
that takes the bot, or nothing; it is run as run_bot(main, ...) runs it, with its signals and its exit
codes.

examples:
  botvisor run my_bot:main --room https://example.daily.co/x
  botvisor run bots.greeter:main --bot-id greeter --env-file .env --log-level INFO
  botvisor run my_bot:main --reload              for development: starts it again when a .py file changes

A file's variables never override those that are set.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    one = add_command(commands, "run", run, "run a bot", _EPILOG, answers=False)
    one.add_argument("main", metavar="MODULE:MAIN", help="where its async function is, such as my_bot:main")
    one.add_argument("--room", default="", metavar="URL", help="the room that it serves")
    one.add_argument("--bot-id", metavar="ID", help="its id; default: BOT_ID, or one made from the pid")
    one.add_argument(
        "--grace", type=seconds, default=15.0, metavar="S", help="to end in when it is stopped; default: 15"
    )
    one.add_argument(
        "--log-level", metavar="LEVEL", help="what it logs to standard error; default: BOT_LOG_LEVEL"
    )
    one.add_argument("--backend", choices=["asyncio", "trio"], default="asyncio", help="default: asyncio")
    one.add_argument("--env-file", type=Path, metavar="FILE", help="variables, a NAME=value to a line")
    one.add_argument("--reload", action="store_true", help="start it again when a .py file here changes")


def run(options: Namespace, settings: Callable[[], Settings]) -> int:
    """Run a bot.

    Args:
        options: the command line.
        settings: reads the settings, once the file of variables has been read.
    """
    if options.reload:
        return run_again_and_again(Path.cwd())
    if options.env_file is not None:
        add_env_file(options.env_file)
    chosen = settings()
    sys.path.insert(0, str(Path.cwd()))
    main = _find(options.main)
    if main is None:
        return 1
    run_bot(
        main,
        room_url=options.room,
        bot_id=options.bot_id,
        settings=chosen,
        backend=options.backend,
        grace=options.grace,
        log_level=options.log_level,
    )
    return 0


def _find(name: str) -> Main | None:
    """Import the function; None when there is none, which has been said then."""
    module_name, colon, function = name.partition(":")
    if not (module_name and colon and function):
        complain(f"{name!r} is not MODULE:MAIN, such as my_bot:main")
        return None
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that it imports, and that is missing, is the author's to see with its traceback.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        complain(f"there is no module {error.name} in {Path.cwd()}, nor among those installed")
        return None
    for part in function.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        complain(f"the module {module_name} has no function {function}")
        return None
    checked: Main = found
    return checked
