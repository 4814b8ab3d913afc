"""`botvisor send`: a message to a bot, to a room's bot, or to all; and how far it came."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import anyio

from botvisor import liveness
from botvisor.client import Client, open_client
from botvisor.config import Settings
from botvisor.errors import BotvisorError
from botvisor.receipt import Receipt
from botvisor.wire import valid_bot_id

from .arguments import add_command, seconds
from .output import complain, say, say_json

DONE = 0
FAILED = 1
SPOOLED = 3
NOT_REACHED = 4

_AT_ONCE = 4_000  # so that a whole fleet is waited for together; the backend has room for twice as many
_STEPS = ("stored", "delivered", "handled")
_USAGE = "botvisor send [options] (BOT | ROOM | --room ROOM | --all) TEXT"
_EPILOG = """\
A receipt says how far it came: stored (Redis or this host's spool holds it), delivered (a live inbox
has it), handled (the bot took it, and asked for the next one or ended). Without --wait it is enough
that it is stored.

examples:
  botvisor send ada "wrap up" --wait 5
  botvisor send --room https://example.daily.co/x "say goodbye" --mode immediate
  botvisor send --all "we restart in five minutes" --wait 10

With --json: {id, bot_id, room_url, state, where, stored_ms, delivered_ms, handled_ms}, times in ms
since it was sent; with --all a list of these. Exit codes: 0 the awaited state was reached; 1 it was not
sent; 3 Redis did not take it, and only this host's spool has it; 4 it was not handled in time.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "send a message to a bot, to the bot of a room, or to all"
    one = add_command(commands, "send", send, text, _EPILOG)
    one.usage = _USAGE
    one.add_argument("words", nargs="+", metavar="BOT|ROOM TEXT", help="to whom, and what to say")
    one.add_argument("--room", metavar="ROOM", help="to the bot that serves this room, now or later")
    one.add_argument("--all", action="store_true", help="to every live bot, a message each")
    one.add_argument("--wait", type=seconds, metavar="S", help="wait up to S seconds for it to be handled")
    one.add_argument(
        "--mode",
        choices=["immediate", "queued"],
        default="queued",
        help="how urgent the bot is told that it is; default: queued",
    )
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
    one.set_defaults(parser=one)


async def send(options: Namespace, settings: Settings) -> int:
    """Send a message."""
    targets, text = _read(options)
    async with open_client(settings, one_shot=True) as client:
        if options.all:
            targets = await _live(client, settings)
            if not targets:
                complain("no live bots: nobody was sent anything")
        sent = await _send_all(client, targets, text, options)
    receipts = [each for each in sent if isinstance(each, Receipt)]
    for error in sent:
        if isinstance(error, Exception):
            complain(str(error))
    documents = [_document(receipt) for receipt in receipts]
    if not options.json:
        for receipt in receipts:
            say(f"{receipt.target}: {_text(receipt)}" if options.all else _text(receipt))
    elif options.all:
        say_json(documents)
    elif documents:
        say_json(documents[0])
    if len(receipts) < len(sent):
        return FAILED
    return _code(receipts, options.wait)


def _read(options: Namespace) -> tuple[list[str], str]:
    """Return to whom, and what; a wrong number of words ends the program."""
    parser: argparse.ArgumentParser = options.parser
    if options.all and options.room is not None:
        parser.error("--all and --room exclude each other")
    expected = 1 if options.all or options.room is not None else 2
    if len(options.words) != expected:
        wanted = "only a TEXT" if expected == 1 else "BOT or ROOM, and a TEXT"
        got = f"{len(options.words)} word{'' if len(options.words) == 1 else 's'}"
        parser.error(f"expected {wanted}, got {got}: quote a text of several words")
    *target, text = options.words
    if options.room is not None:
        if "/" not in options.room:
            parser.error(f"--room wants a room's URL, not {options.room!r}")
        target = [options.room]
    return target, text


async def _live(client: Client, settings: Settings) -> list[str]:
    found = await client.heartbeats()
    stale_s = settings.heartbeat_stale_s
    return sorted(beat.bot_id for beat in found if liveness.status(beat, stale_s) not in liveness.ENDED)


async def _send_all(
    client: Client, targets: Sequence[str], text: str, options: Namespace
) -> list[Receipt | BotvisorError]:
    """Return what became of the message for each target, in their order."""
    sent: dict[str, Receipt | BotvisorError] = {}
    limit = anyio.CapacityLimiter(_AT_ONCE)

    async def one(target: str) -> None:
        async with limit:
            try:
                sent[target] = await client.send(
                    target,
                    text,
                    wait=options.wait,
                    mode=options.mode,
                    sender_name=options.sender,
                    durable=options.durable,
                    spool=options.spool,
                )
            except BotvisorError as error:
                sent[target] = error

    if len(targets) == 1:
        await one(targets[0])  # not in a group, so that what it raises is bare
    else:
        async with anyio.create_task_group() as group:
            for target in targets:
                group.start_soon(one, target)
    return [sent[target] for target in targets]


def _document(receipt: Receipt) -> dict[str, Any]:
    is_bot = valid_bot_id(receipt.target)
    return {
        "id": receipt.id,
        "bot_id": receipt.target if is_bot else None,
        "room_url": None if is_bot else receipt.target,
        "state": receipt.state,
        "where": receipt.where,
        "stored_ms": receipt.stored_ms,
        "delivered_ms": receipt.delivered_ms,
        "handled_ms": receipt.handled_ms,
    }


def _text(receipt: Receipt) -> str:
    """Return how far a message came, step by step."""
    steps = [
        f"{step} after {at_ms:.0f} ms"
        for step in _STEPS
        if (at_ms := getattr(receipt, f"{step}_ms")) is not None
    ]
    if receipt.state == "dead":
        steps.append("given up")
    return f"{receipt.id} {' → '.join(steps)} ({receipt.where})"


def _code(receipts: Sequence[Receipt], wait_s: float | None) -> int:
    """Return the exit code, and say what led to it."""
    unhandled = [receipt for receipt in receipts if receipt.state != "handled"]
    spooled = [receipt for receipt in unhandled if receipt.fallback]
    if spooled:
        complain(
            f"only {spooled[0].where} has {_part(len(spooled), receipts)} ({spooled[0].fallback}); "
            "a bot or a client that runs on this host brings it to Redis later"
        )
    if wait_s is None:
        return SPOOLED if spooled else DONE
    given_up = sum(receipt.state == "dead" for receipt in unhandled)
    if given_up:
        complain(f"given up, {_part(given_up, receipts)}: see `botvisor inbox`")
    if len(unhandled) > given_up:
        complain(f"not handled within {wait_s:g} s: {_part(len(unhandled) - given_up, receipts)}")
    return NOT_REACHED if unhandled else DONE


def _part(count: int, receipts: Sequence[Receipt]) -> str:
    return "the message" if len(receipts) == 1 else f"{count} of {len(receipts)} messages"
