"""`botvisor doctor`: what is wrong with the settings, Redis and the directories, and what mends it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import textwrap
from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

import anyio
import msgspec

from botvisor import bot_id as ids
from botvisor import liveness
from botvisor.actors.backend.files import FileStore
from botvisor.client import open_client
from botvisor.config import Settings
from botvisor.errors import StoreError
from botvisor.fleet.words import printable
from botvisor.mending import ReadFacts
from botvisor.store import Queue
from botvisor.target import bot_only

from . import bot_keys, findings
from .arguments import BOT_HELP, add_command
from .bot_keys import Look
from .findings import Finding
from .output import complain, say, say_json, width
from .table import show

_LIMIT_S = 15.0
_NARROWEST = 20  # columns for what was found
_LOCAL = ("localhost", "127.0.0.1", "::1")
_EPILOG = """\
Without a BOT: looks at the settings, at Redis (version, eviction, persistence, memory, load, latency,
rights, TLS, clock) and at the directories: a line each, with its remedy. It ends with 1 when something
is a problem.

With a BOT: prints the redis-cli commands (with files: shell commands) that show all there is of that
bot. A password for redis-cli belongs into REDISCLI_AUTH.

With --json: a list of {topic, level, text, remedy}; with a BOT a list of {shows, command}.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "find what is wrong with the settings, Redis and the directories"
    one = add_command(commands, "doctor", doctor, text, _EPILOG)
    one.add_argument("target", nargs="?", metavar="BOT", help=BOT_HELP)


async def doctor(options: Namespace, settings: Settings) -> int:
    """Look at everything, or show how to look at a bot."""
    if options.target is not None:
        return await _show_bot(options, settings)
    found = [*_software(), *_settings(settings)]
    if settings.use_redis:
        found += await _redis(settings)
    if settings.file_fallback:
        found += findings.of_directories(await _facts(FileStore(settings)))
    if options.json:
        say_json([msgspec.to_builtins(each) for each in found])
    else:
        say(show(["", "TOPIC", "FOUND"], list(_lines(found, width()))))
        for each in found:
            if each.remedy:
                say(f"→ {printable(each.topic)}: {printable(each.remedy)}")
    return 1 if any(each.level == "problem" for each in found) else 0


def _lines(found: Sequence[Finding], columns: int | None) -> Iterator[list[str]]:
    """Yield the rows of a table of so many columns: what does not fit goes on in the next row."""
    before = max(len(each.level) for each in found) + max(len(each.topic) for each in found) + 2 * len("  ")
    for each in found:
        text = printable(each.text)
        wide = len(text) if columns is None else max(_NARROWEST, columns - before)
        first, *more = textwrap.wrap(text, wide, break_on_hyphens=False)
        yield [each.level, each.topic, first]
        yield from (["", "", line] for line in more)


def _software() -> Iterator[Finding]:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("botvisor", "anyio", "hiredis")
    )
    yield Finding("software", "ok", f"Python {platform.python_version()}, {versions}")
    if importlib.util.find_spec("rich") is None:
        yield Finding("software", "ok", "tables are plain: the extra botvisor[ops] makes them prettier")


def _settings(settings: Settings) -> Iterator[Finding]:
    where = "Redis, with files while it is away" if settings.file_fallback else "Redis alone"
    yield Finding(
        "settings", "ok", f"bots use {where if settings.use_redis else 'the files of this host alone'}"
    )
    if settings.heartbeat_stale_s < 2 * settings.heartbeat_interval_s:
        text = "BOT_HEARTBEAT_STALE_SECS is less than two intervals: one late heartbeat makes a bot look lost"
        yield Finding("settings", "warning", text, "raise it, or lower BOT_HEARTBEAT_INTERVAL_SECS")
    if settings.use_redis and settings.redis_tls_insecure:
        text = "certificates are not checked: REDIS_TLS_INSECURE is on"
        yield Finding("settings", "warning", text, "set REDIS_TLS_CA_FILE instead")


async def _redis(settings: Settings) -> list[Finding]:
    # hiredis and what goes with it are of no use to who keeps to files.
    from botvisor.actors.backend.redis import RedisStore
    from botvisor.actors.backend.redis_endpoint import endpoint_of
    from botvisor.actors.backend.redis_errors import RedisUnavailable

    endpoint = endpoint_of(settings)
    found = [Finding("settings", "warning", text) for text in endpoint.warnings if "INSECURE" not in text]
    told: list[str] = []
    store = RedisStore(
        endpoint,
        lambda _, text: told.append(text),
        connect_timeout_s=settings.redis_connect_timeout_s,
        name="botvisor-doctor",
    )
    try:
        facts = await _facts(store)
    except RedisUnavailable as error:
        reason = error.diagnosis.reason.removesuffix(".")
        remedy = error.diagnosis.remedy or f"is a server there? try: {_redis_cli(settings)} PING"
        return [*found, Finding("server", "problem", f"{endpoint.address}: {reason}", remedy)]
    except (StoreError, TimeoutError) as error:
        text = f"{endpoint.address}: {error}" if str(error) else f"{endpoint.address} does not answer"
        return [*found, Finding("server", "problem", text, f"try: {_redis_cli(settings)} PING")]
    finally:
        await store.aclose()
    local = endpoint.path is not None or (endpoint.host in _LOCAL and endpoint.sentinels is None)
    secured = bool(endpoint.login.password) or endpoint.password_file is not None
    found += findings.of_redis(facts, encrypted=endpoint.tls is not None, authenticated=secured, local=local)
    return found


async def _facts(store: Any) -> dict[str, Any]:
    with anyio.fail_after(_LIMIT_S):
        (answer,) = await store.execute([ReadFacts()])
    if isinstance(answer, Exception):
        raise answer
    facts: dict[str, Any] = answer
    return facts


async def _show_bot(options: Namespace, settings: Settings) -> int:
    bot_id = bot_only(options.target)
    queues, room_url = [Queue("bot", bot_id)], ""
    async with open_client(settings) as client:
        try:
            heartbeat = await client.heartbeat(bot_id)
        except StoreError as error:
            heartbeat = None
            complain(f"its room is not known: {error}")
    if heartbeat is not None:
        room_url = heartbeat.room_url
        queues = ids.queues(liveness.owner(heartbeat), room_url, settings)
    looks: list[Look] = []
    if settings.use_redis:
        looks += bot_keys.on_redis(_redis_cli(settings), bot_id, room_url, queues)
    if settings.file_fallback:
        looks += bot_keys.in_files(settings, bot_id)
    if options.json:
        say_json([look._asdict() for look in looks])
    else:
        for look in looks:
            say(f"# {printable(look.shows)}\n{printable(look.command)}")
    return 0


def _redis_cli(settings: Settings) -> str:
    from botvisor.actors.backend.redis_endpoint import endpoint_of

    endpoint = endpoint_of(settings)
    return bot_keys.redis_cli(
        host=endpoint.host or "PRIMARY",
        port=endpoint.port or 6379,
        path=endpoint.path,
        db=endpoint.db,
        tls=endpoint.tls is not None,
        user=endpoint.login.username,
        cluster=bool(endpoint.nodes),
    )
