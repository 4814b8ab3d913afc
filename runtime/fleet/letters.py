"""What operators are shown of a message in a bot's queues."""

from __future__ import annotations

from typing import Any

from botvisor.errors import MalformedMessage
from botvisor.message_forms import known_by
from botvisor.messages import decode_message
from botvisor.store import Queue, QueuedMessage

_WORDS = {"stored": "queued", "delivered": "claimed"}


def letter_of(queue: Queue, message: QueuedMessage) -> dict[str, Any]:
    """Return what there is to show of a message, as it came from whoever sent it.

    Args:
        queue: the queue that holds it.
        message: the message; of a malformed one the text says what is wrong with it.

    Returns:
        ``id``, ``state`` (``queued``, ``claimed`` or ``dead``), ``queue``, ``tries``, ``sender`` (or None),
        ``text`` and ``reason`` (or None).
    """
    sender = None
    try:
        decoded = decode_message(message.raw, fallback_id=message.name, source="", received_at=0.0)
        text, sender = decoded.text, decoded.sender_name or decoded.sender_id
    except MalformedMessage as error:
        text = f"({error.reason})"
    return {
        "id": known_by(message.raw, message.name),
        "state": _WORDS.get(message.state, message.state),
        "queue": str(queue),
        "tries": message.tries,
        "sender": sender or None,
        "text": text,
        "reason": message.reason or None,
    }
