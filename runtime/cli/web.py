"""`botvisor web`: the fleet in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from botvisor.config import Secret, Settings, read_secret

from .arguments import add_command
from .output import complain, say, say_json

_NEEDED = ("starlette", "uvicorn")
_EPILOG = """\
The page shows the fleet live, and of each bot its figures over time, its ledger and its messages; it
sends messages, and drains and stops bots. While Redis is away it shows what it last knew, and as of
when.

Without a token everybody who can reach the port can do all that, on 127.0.0.1 every user of this host.
A token of at least 16 characters comes from a file or a variable, never from the command line, which
all users of a host can read. Any other address than this host's own needs one. The page speaks plain
HTTP: to other hosts let a proxy with TLS stand before it, and name it with --allow-host.

examples:
  botvisor web
  botvisor web --token-file ~/.botvisor-token
  botvisor web --host 0.0.0.0 --token-env WEB_TOKEN --allow-host bots.example.com
  ssh -L 8377:localhost:8377 HOST              then http://localhost:8377/ is the page of HOST

It serves until Ctrl-C or SIGTERM. With --json the first line of its output is {url}.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    one = add_command(commands, "web", web, "serve a page that shows the fleet in a browser", _EPILOG)
    one.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s")
    one.add_argument("--port", type=_port, default=8377, help="default: %(default)s; 0 takes any")
    token = one.add_mutually_exclusive_group()
    token.add_argument("--token-file", type=Path, metavar="FILE", help="the file that holds the token")
    token.add_argument("--token-env", metavar="NAME", help="the variable that holds the token")
    one.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name of this server, such as a proxy's; may be repeated",
    )


async def web(options: Namespace, settings: Settings) -> int:
    """Serve the page."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        complain("the web page needs what `pip install 'botvisor[web]'` installs")
        return 1
    from botvisor.web.guard import is_loopback
    from botvisor.web.server import serve

    token = _token(options)
    if not is_loopback(options.host) and token is not None:
        complain("the page speaks plain HTTP: let a proxy with TLS stand between it and other hosts")

    def started(url: str) -> None:
        if options.json:
            say_json({"url": url})
        else:
            say(f"serving {url}{' to who has the token' if token is not None else ''} (Ctrl-C ends it)")
        sys.stdout.flush()  # whoever reads it is not to wait until it ends

    await serve(
        settings,
        host=options.host,
        port=options.port,
        token=token,
        names=options.allow_host,
        started=started,
    )
    return 0


def _token(options: Namespace) -> Secret | None:
    """Return the token; None when none is wanted.

    Raises:
        ValueError: it cannot be had.
    """
    if options.token_file is not None:
        try:
            if options.token_file.stat().st_mode & 0o077:
                complain(f"others can read {options.token_file}: chmod 600 keeps the token to you")
            text = options.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ValueError(
                f"the file with the token cannot be read: {options.token_file}: {reason or error}"
            ) from None
        if not text:
            raise ValueError(f"{options.token_file} holds no token: it is empty")
        return Secret(text)
    if options.token_env is not None:
        secret = read_secret(options.token_env)
        if secret is None:
            raise ValueError(f"{options.token_env} holds no token: it is unset or empty")
        return secret
    return None


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535, not {text!r}")
    return int(text)
