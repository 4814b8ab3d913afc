"""What the page does to bots: it sends, and it commands."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from botvisor import wire
from botvisor.client import Client
from botvisor.errors import BotvisorError, MalformedMessage
from botvisor.fleet.sent import Sent
from botvisor.message_forms import Mode

from .answers import answer, body_of, refusal

_MESSAGE_BYTES = 2 * wire.MAX_MESSAGE_BYTES  # as JSON may need more for the same text
_COMMAND_BYTES = 4_096


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be sent; see `botvisor.web`."""

    bot_id: str
    text: str
    mode: Mode = "queued"
    durable: bool = False


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """What a bot is to do; see `botvisor.web`."""

    bot_id: str
    command: Literal["stop", "drain", "stack"]


_Wanted = TypeVar("_Wanted", Message, Command)


class Actions:
    """Answers requests to do something.

    Args:
        client: does it.
        sent: sends, and follows what it has sent.
    """

    def __init__(self, client: Client, sent: Sent) -> None:
        self._client = client
        self._sent = sent

    async def send(self, request: Request) -> Response:
        """Send a message."""
        wanted = await _read(request, Message, _MESSAGE_BYTES)
        if isinstance(wanted, Response):
            return wanted
        if not wanted.text.strip():
            return refusal(400, "the message has no text")
        try:
            sent = await self._sent.send(wanted.bot_id, wanted.text, mode=wanted.mode, durable=wanted.durable)
        except MalformedMessage as error:
            return refusal(400, str(error))
        except BotvisorError as error:
            return refusal(503, str(error))
        return answer(sent, 201)

    async def control(self, request: Request) -> Response:
        """Send a command."""
        wanted = await _read(request, Command, _COMMAND_BYTES)
        if isinstance(wanted, Response):
            return wanted
        try:
            return answer({"id": await self._client.control(wanted.bot_id, wanted.command)}, 202)
        except BotvisorError as error:
            return refusal(503, str(error))


async def _read(request: Request, kind: type[_Wanted], limit: int) -> _Wanted | Response:
    """Return what a request says, or why that is not what it should be."""
    # A form of a stranger's page cannot send this type without asking us first, which we do not answer.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return refusal(415, "this must be application/json")
    try:
        wanted = msgspec.json.decode(await body_of(request, limit), type=kind)
    except msgspec.MsgspecError as error:
        return refusal(400, str(error))
    except (UnicodeDecodeError, RecursionError):
        return refusal(400, "this is no JSON")
    if not wire.valid_bot_id(wanted.bot_id):
        return refusal(400, "that is no id of a bot")
    return wanted
