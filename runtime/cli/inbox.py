"""`botvisor inbox BOT`: what waits for it, what it has, what was given up; and what is done about that."""

from __future__ import annotations

import argparse
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botvisor.client import Client, open_client
from botvisor.config import Settings
from botvisor.errors import StoreError
from botvisor.fleet.letters import letter_of
from botvisor.fleet.words import duration
from botvisor.message_forms import known_by
from botvisor.store import Queue, QueuedMessage
from botvisor.wire import id_digest

from .arguments import add_command
from .output import complain, say, say_json, warn_if_away
from .table import show

_EPILOG = """\
Shown are all queues that the bot serves: its id's, its pid's, its room's. STATE is queued, claimed (the
bot has it, and has not handled it yet) or dead (given up after three tries, or malformed). Nothing is
taken.

examples:
  botvisor inbox ada
  botvisor inbox ada requeue admin_1764_0a1b2c3d     a dead letter is delivered again, marked as a repeat
  botvisor inbox ada requeue --dead                  all of them
  botvisor inbox ada drop admin_1764_0a1b2c3d        a message that is queued or dead is deleted
  botvisor inbox ada drop admin_1764_0a1b2c3d#5e4f09  of several that have this id, only the one shown so

It ends with 1 when a message that was named is not there, or cannot be treated so.
"""


def add(commands: Any) -> None:
    """Add the command to the program."""
    text = "show a bot's messages: queued, claimed and dead; requeue or drop them"
    one = add_command(commands, "inbox", inbox, text, _EPILOG)
    one.add_argument("target", metavar="BOT|ROOM", help="a bot's id, or a room's URL")
    one.add_argument("action", nargs="?", choices=["requeue", "drop"], help="what to do with messages")
    one.add_argument("ids", nargs="*", metavar="ID", help="which messages")
    one.add_argument("--dead", action="store_true", help="with requeue or drop: all dead letters")
    one.set_defaults(parser=one)


async def inbox(options: Namespace, settings: Settings) -> int:
    """Show messages, or do something about them."""
    parser: argparse.ArgumentParser = options.parser
    if options.action is not None and bool(options.ids) == options.dead:
        parser.error(f"{options.action} needs the ID of a message, or --dead")
    if options.action is None and options.dead:
        parser.error("--dead goes with requeue or drop")
    async with open_client(settings) as client:
        found = await client.inbox(options.target)
        away = client.away()
        warn_if_away(away, "these are the messages in this host's files")
        if options.action is not None:
            return await _treat(client, found, options)
    documents = [_document(queue, message, time.time()) for queue, message in found]
    if options.json:
        say_json(documents)
    elif not documents:
        say(f"nothing waits for {options.target}, is in its hands, or was given up")
    else:
        say(_table(documents))
    return 0


async def _treat(client: Client, found: Sequence[tuple[Queue, QueuedMessage]], options: Namespace) -> int:
    by_id: dict[str, list[tuple[Queue, QueuedMessage]]] = {}
    for queue, message in found:
        by_id.setdefault(known_by(message.raw, message.name), []).append((queue, message))
    for queue, message in found:
        by_id.setdefault(_handle(queue, message), [(queue, message)])
    if options.dead:
        wanted = [pair for pair in found if pair[1].state == "dead"]
    else:
        wanted = [pair for message_id in options.ids for pair in by_id.get(message_id, [])]
    failed = [message_id for message_id in options.ids if message_id not in by_id]
    for message_id in failed:
        complain(f"{options.target} has no message {message_id}")
    done = []
    for queue, message in wanted:
        message_id = known_by(message.raw, message.name)
        problem = await _treat_one(client, queue, message, options.action)
        if problem:
            failed.append(message_id)
            complain(f"{message_id} {problem}")
        else:
            done.append(message_id)
    past = {"requeue": "requeued", "drop": "dropped"}[options.action]
    if options.json:
        say_json({"target": options.target, past: done, "failed": failed})
    elif done or not failed:
        say(f"{past} {len(done)} message{'' if len(done) == 1 else 's'}")
    return 1 if failed else 0


async def _treat_one(client: Client, queue: Queue, message: QueuedMessage, action: str) -> str:
    """Do it. Returns what was wrong, as the end of a sentence; empty when it was done."""
    if message.state == "delivered":
        return "is claimed: the bot has it in its hands"
    if action == "requeue" and message.state != "dead":
        return "waits already: only dead letters are requeued"
    try:
        treat = client.requeue if action == "requeue" else client.drop
        return "" if await treat(queue, message) else "was not there any more"
    except StoreError as error:
        return f"could not be {'requeued' if action == 'requeue' else 'dropped'}: {error}"


def _handle(queue: Queue, message: QueuedMessage) -> str:
    """Return what names one message among several of one id: the id, and what tells where this one is."""
    place = f"{queue} {queue.store or message.store} {message.state} {message.entry}"
    return f"{known_by(message.raw, message.name)}#{id_digest(place)[:6]}"


def _document(queue: Queue, message: QueuedMessage, now: float) -> dict[str, Any]:
    stored = datetime.fromtimestamp(message.stored_at, UTC).isoformat(timespec="milliseconds")
    return {
        **letter_of(queue, message),
        "handle": _handle(queue, message),
        "store": queue.store or message.store or None,
        "age_s": round(max(0.0, now - message.stored_at), 1),
        "stored_at": stored,
    }


def _table(documents: Sequence[dict[str, Any]]) -> str:
    times = Counter(each["id"] for each in documents)
    columns = ["ID", "STATE", "QUEUE", "AGE", "TRIES", "FROM", "TEXT", "REASON"]
    rows = [
        [
            each["id"] if times[each["id"]] == 1 else each["handle"],
            each["state"],
            each["queue"],
            duration(each["age_s"]),
            str(each["tries"]),
            str(each["sender"] or "-"),
            each["text"],
            each["reason"] or "-",
        ]
        for each in documents
    ]
    return show(columns, rows, ("TRIES", "FROM", "QUEUE"), {"TEXT": 24, "REASON": 16})
