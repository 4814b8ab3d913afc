"""The receipt: how far a message that was sent has come."""

from __future__ import annotations

import msgspec

from .store import MessageState

# What a state needs to have been reached; a dead letter was delivered, and never handled.
_ORDER: tuple[MessageState, ...] = ("unknown", "stored", "delivered", "dead", "handled")


class Spooled(msgspec.Struct, frozen=True):
    """What sending ends with where Redis is in use, could not take a message, and this host's spool did.

    Args:
        where: ``spool@`` and the host.
        reason: why Redis could not, in words.
    """

    where: str
    reason: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """What a sender knows of his message. Times are milliseconds since `send` was called.

    Args:
        id: the message's id.
        target: whom it is for: a bot's id or a room.
        state: ``stored``: a store holds it; ``delivered``: a live inbox holds it; ``handled``: `main` took it
            and asked for the next one, or ended; ``dead``: it was given up after three tries.
        where: where it was stored: ``redis``, or ``spool@`` and the host.
        fallback: why only this host's spool has it although Redis is in use, in words; empty if it is where
            it should be, such as in the spool for a bot that keeps to files.
        stored_ms: when it was stored.
        delivered_ms: when it was seen to be delivered, or None.
        handled_ms: when it was seen to be handled, or None.
    """

    id: str
    target: str
    state: MessageState
    where: str
    stored_ms: float
    fallback: str = ""
    delivered_ms: float | None = None
    handled_ms: float | None = None

    def advanced(self, state: MessageState, at_ms: float) -> Receipt:
        """Return the receipt as it is once the message was seen in this state."""
        if _ORDER.index(state) <= _ORDER.index(self.state):
            return self
        delivered_ms = at_ms if self.delivered_ms is None and state != "stored" else self.delivered_ms
        handled_ms = at_ms if state == "handled" else None
        return msgspec.structs.replace(self, state=state, delivered_ms=delivered_ms, handled_ms=handled_ms)


def placed(answer: str | Spooled) -> tuple[str, str]:
    """Return the ``where`` and the ``fallback`` of a receipt, by the result of `PushMessage`."""
    return (answer.where, answer.reason) if isinstance(answer, Spooled) else (answer, "")
