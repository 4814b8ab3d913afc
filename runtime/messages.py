"""Admin messages: decoded from whatever arrives, composed in the form every program reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import MalformedMessage
from .message_forms import (
    RESENT_FIELD,
    Mode,
    parse_object,
    read_id,
    read_mode,
    read_room,
    read_sender,
    read_text,
    read_timestamp,
    unwrap,
)
from .stamps import stamp_of
from .wire import MAX_MESSAGE_BYTES


class AdminMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message from an operator or a program to a bot.

    Args:
        id: what the message is known by: its own id, or one that its store gave it.
        text: what it says. A dashboard's event without a text has its action here.
        sender_id: who sent it, or None.
        sender_name: the sender's name, or None.
        mode: whether it wants to be acted on now or when there is time.
        timestamp: when it was sent, ISO 8601 in UTC; when it was received, if it does not say.
        room_url: the room that it names, as written there, or an empty text.
        data: every field as it came, those of a wrapped message included.
        redelivered: it may have reached a handler before.
        tries: how many times it was handed out, this time included.
        source: where it came from, in words.
    """

    id: str
    text: str
    sender_id: str | None
    sender_name: str | None
    mode: Mode
    timestamp: str
    room_url: str
    data: dict[str, Any]
    redelivered: bool = False
    tries: int = 1
    source: str


def decode_message(
    raw: bytes,
    *,
    fallback_id: str,
    source: str,
    tries: int = 1,
    redelivered: bool = False,
    received_at: float,
) -> AdminMessage:
    """Decode a message in any of the forms of `docs/wire.md`.

    Args:
        raw: the message's bytes, from anybody.
        fallback_id: the id of a message that has none of its own.
        source: where it came from, in words.
        tries: how many times it was handed out, this time included.
        redelivered: it may have reached a handler before.
        received_at: seconds since 1970; stands in for a time that is missing.

    Raises:
        MalformedMessage: it cannot be understood. Nothing else is raised, whatever the bytes.
    """
    if len(raw) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(raw)} bytes, more than {MAX_MESSAGE_BYTES}")
    outer = parse_object(raw)
    fields = unwrap(outer)
    sender_id, sender_name = read_sender(fields)
    return AdminMessage(
        # Not a wrapped message's id: it may name a thing that comes up again, such as a note.
        id=read_id(outer.get("id")) or fallback_id,
        text=read_text(fields),
        sender_id=sender_id,
        sender_name=sender_name,
        mode=read_mode(fields),
        timestamp=read_timestamp(fields.get("timestamp"), received_at),
        room_url=read_room(fields),
        data=fields,
        redelivered=redelivered or outer.get(RESENT_FIELD) is True,
        tries=tries,
        source=source,
    )


def compose_message(
    payload: str | Mapping[str, Any],
    *,
    room_url: str = "",
    mode: Mode | None = None,
    sender_id: str | None = None,
    sender_name: str | None = None,
    now: float,
    token: str,
) -> tuple[str, bytes]:
    """Compose a message that botvisor and older bots both understand.

    Args:
        payload: what to say; or all the fields of a message, sent as they are. What a mapping lacks
            of the fields below is added to it, its own values are never replaced.
        room_url: the room that the message is about, if any.
        mode: whether to act now or when there is time; a text is queued unless told otherwise.
        sender_id: who sends it.
        sender_name: the sender's name.
        now: seconds since 1970.
        token: eight hex digits, random, that tell apart ids of one millisecond.

    Returns:
        The id by which the message will be known, and its bytes.

    Raises:
        MalformedMessage: it cannot be encoded, is larger than `MAX_MESSAGE_BYTES`, or no bot could
            read it.
    """
    at_ms = int(now * 1000)
    message_id = f"admin_{at_ms}_{token}"
    fields: dict[str, Any] = {"id": message_id, "type": "admin_message", "timestamp": stamp_of(at_ms)}
    text = payload if isinstance(payload, str) else ""
    # So that half a gigabyte is not encoded only to be refused.
    longest = len(text)
    if not isinstance(payload, str):
        longest = max((len(value) for value in payload.values() if isinstance(value, str)), default=0)
    if longest > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"a text of {longest} characters, more than {MAX_MESSAGE_BYTES} bytes")
    if isinstance(payload, str):
        fields["room_url"], fields["message"], fields["mode"] = room_url, payload, "queued"
    elif room_url:
        fields["room_url"] = room_url
    if mode:
        fields["mode"] = mode
    if sender_id:
        fields["sender_id"] = sender_id
    if sender_name:
        fields["sender_name"] = sender_name
    if not isinstance(payload, str):
        # A null or an empty text counts as missing for what we add; a mapping's own are sent.
        for name, value in payload.items():
            if value not in (None, "") or name not in fields:
                fields[name] = value
        own_id = read_id(fields["id"])
        if own_id is None:
            raise MalformedMessage("its id is neither a text nor a number")
        message_id = own_id
    try:
        raw = msgspec.json.encode(fields)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise MalformedMessage(f"cannot be written as JSON: {error}") from error
    if len(raw) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(raw)} bytes, more than {MAX_MESSAGE_BYTES}")
    if not _is_plain(text):
        read_text(unwrap(parse_object(raw)))
    return message_id, raw


def _is_plain(text: str) -> bool:
    """Return whether a text says something, and is no message by itself."""
    return bool(text) and not text.isspace() and "{" not in text


def mark_resent(raw: bytes) -> bytes:
    """Return a message as its sender sends it once more: who reads it is told that it may be a repeat.

    Args:
        raw: the message's bytes.

    Raises:
        MalformedMessage: it is no message, or has no room for the mark.
    """
    marked = msgspec.json.encode({**parse_object(raw), RESENT_FIELD: True})
    if len(marked) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(marked)} bytes with a repeat's mark, more than {MAX_MESSAGE_BYTES}")
    return marked
