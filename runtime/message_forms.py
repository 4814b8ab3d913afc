"""The forms in which admin messages arrive: which field of which writer means what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from .errors import MalformedMessage
from .wire import MAX_ID_CHARS, MAX_MESSAGE_DEPTH

Mode = Literal["immediate", "queued"]

# For each attribute the names writers give it, best first.
TEXT_FIELDS = ("message", "prompt")
SENDER_ID_FIELDS = ("sender_id", "senderId")
SENDER_NAME_FIELDS = ("sender_name", "senderName")
ROOM_FIELDS = ("room_url", "roomUrl")
BOT_FIELDS = ("bot_pid", "botPid")
MODE_FIELDS = ("mode",)
# A durable message that its sender has sent again: it may have been shown before.
RESENT_FIELD = "resent"
# A dashboard names its administrator once, and says what it wants in place of a text.
ADMINISTRATOR_FIELD = "fromAdmin"
ACTION_FIELD = "action"

IMMEDIATE_MODES = frozenset({"immediate", "direct"})
NOTE_TYPE = "note_context"
WRAPPED_TYPES = frozenset({NOTE_TYPE, "admin_message"})
# 1e11 seconds is the year 5138 and 1e11 milliseconds is 1973: no real time is taken for the other.
MILLISECONDS_ABOVE = 1e11


def parse_object(raw: bytes | str) -> dict[str, Any]:
    """Parse the JSON object of a message.

    Raises:
        MalformedMessage: it is not one JSON object, or nests deeper than `MAX_MESSAGE_DEPTH`.
    """
    try:
        value = msgspec.json.decode(raw)
    except RecursionError:
        raise MalformedMessage("nested too deeply") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise MalformedMessage(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MalformedMessage("not a JSON object")
    if _too_deep(value):
        raise MalformedMessage("nested too deeply")
    return value


def unwrap(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a message's fields with those of a message inside its ``message`` laid over them.

    The outer ``id`` stays, since that is the one a sender waits for.
    """
    while (inner := _wrapped(fields.get("message"))) is not None:
        outer = {name: value for name, value in fields.items() if name != "message"}
        kept_id = {"id": outer["id"]} if "id" in outer else {}
        fields = {**outer, **inner, **kept_id}
    return fields


def read_id(value: Any) -> str | None:
    """Return a message's id as text, or None when it has none that can be used.

    A nested value is no id, but its message is still good. An id that is long or unprintable is
    replaced by its hash: ids are remembered for hours, one to a line, and equal ones stay equal.
    """
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value)
    if len(text) > MAX_ID_CHARS or not text.isprintable():
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    return text or None


def known_by(raw: bytes, name: str) -> str:
    """Return what a message is known by.

    Args:
        raw: its bytes.
        name: what stands for its id where it has none.
    """
    try:
        return read_id(parse_object(raw).get("id")) or name
    except MalformedMessage:
        return name


def read_text(fields: dict[str, Any]) -> str:
    """Return what a message says; empty only for a note event, which need not say anything.

    Raises:
        MalformedMessage: the message says nothing.
    """
    for value in (*_candidates(fields, TEXT_FIELDS), fields.get(ACTION_FIELD)):
        if isinstance(value, str) and value.strip():
            return value
    if fields.get("type") == NOTE_TYPE:
        return ""
    raise MalformedMessage(f"no text in {' or '.join(TEXT_FIELDS)}")


def read_sender(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return the sender's id and name, each None where the message has none."""
    administrator = _scalar([fields.get(ADMINISTRATOR_FIELD)])
    sender_id = _scalar(_candidates(fields, SENDER_ID_FIELDS))
    sender_name = _scalar(_candidates(fields, SENDER_NAME_FIELDS))
    return sender_id or administrator, sender_name or administrator


def read_mode(fields: dict[str, Any]) -> Mode:
    """Return when the message wants to be acted on: anything but a word for *now* is queued."""
    word = _scalar(_candidates(fields, MODE_FIELDS)) or ""
    return "immediate" if word.strip().lower() in IMMEDIATE_MODES else "queued"


def read_room(fields: dict[str, Any]) -> str:
    """Return the URL of the room that the message names, or an empty text."""
    return _scalar(_candidates(fields, ROOM_FIELDS)) or ""


def read_bot(fields: dict[str, Any]) -> str:
    """Return the pid or the id of the bot that the message names, or an empty text."""
    return _scalar(_candidates(fields, BOT_FIELDS)) or ""


def read_timestamp(value: Any, received_at: float) -> str:
    """Return a message's time as ISO 8601 in UTC.

    Args:
        value: an ISO text, in UTC unless it says otherwise; or a number of seconds since 1970, of
            milliseconds when it is too large for that. Zero is what older writers put for *unknown*.
        received_at: what to take when the value is no time: seconds since 1970.
    """
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return iso_utc(moment.replace(tzinfo=moment.tzinfo or UTC))
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            seconds = value / 1000 if value > MILLISECONDS_ABOVE else value
            return iso_utc(datetime.fromtimestamp(seconds, UTC))
    except (ValueError, OverflowError, OSError):
        pass
    return iso_utc(datetime.fromtimestamp(received_at, UTC))


def iso_utc(moment: datetime) -> str:
    """Return an aware time in UTC. The offset is written +00:00: Python before 3.11 cannot read Z."""
    return moment.astimezone(UTC).isoformat()


def _candidates(fields: dict[str, Any], names: tuple[str, ...]) -> Iterator[Any]:
    """Yield the values of some names, first the message's own, then those in a dashboard's ``data``."""
    nested = fields.get("data")
    for place in (fields, nested if isinstance(nested, dict) else {}):
        for name in names:
            yield place.get(name)


def _scalar(values: Iterator[Any] | list[Any]) -> str | None:
    """Return the first value that is a number or a text with something in it, as text."""
    for value in values:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "":
            return str(value)
    return None


def _wrapped(value: Any) -> dict[str, Any] | None:
    """Return the message inside a ``message``, if there is one: JSON text, or the object itself."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = parse_object(value)
        except MalformedMessage:
            return None  # an ordinary text that happens to begin with a brace
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in WRAPPED_TYPES:
            return value
    return None


def _too_deep(value: dict[str, Any]) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_MESSAGE_DEPTH):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return False
    return True
