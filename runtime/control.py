"""Control commands: what an operator tells a bot, and `main` never sees."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .errors import MalformedMessage

Command = Literal["stop", "drain", "restart", "stack"]


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """A command to a bot.

    Args:
        id: unique to this command.
        command: ``stop``: as SIGTERM does; ``drain``: take no more messages and end when `main` ends, however
            long that takes; ``restart``: restart an actor (``arguments: {"actor": …}``); ``stack``: tell
            in the ``health["stack"]`` of the next heartbeats where `main` and each actor stand.
        arguments: what the command needs; and ``instance``, if it is meant for one start of the bot alone.
        sender: who sent it.
        v: the version of this object.
    """

    id: str
    command: Command
    arguments: dict[str, Any] = {}
    sender: str = ""
    v: int = 1

    def __str__(self) -> str:
        actor = self.arguments.get("actor")
        return f"{self.command} {actor}" if actor else self.command


def decode_control(raw: bytes) -> Control:
    """Return the command in these bytes.

    Raises:
        MalformedMessage: when they hold none that this version knows.
    """
    try:
        return msgspec.json.decode(raw, type=Control)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedMessage(f"control: {error}") from error


def compose_control(control_id: str, command: Command, arguments: dict[str, Any], sender: str) -> bytes:
    """Return the bytes of a command.

    Raises:
        ValueError: when there is no such command, or its arguments are not as they must be.
    """
    control = Control(id=control_id, command=command, arguments=arguments, sender=sender)
    try:
        raw = msgspec.json.encode(control)
        msgspec.json.decode(raw, type=Control)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error
    return raw
