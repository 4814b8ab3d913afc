"""What Redis answers: errors among the replies, and hashes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .redis_errors import ErrorReply, Kind, diagnose

_MOST = 2.0**53


def check(replies: Sequence[Any]) -> Sequence[Any]:
    """Return the replies of a step if no error is among them.

    Raises:
        ErrorReply: the first error.
    """
    if ErrorReply in map(type, replies):
        raise next(reply for reply in replies if isinstance(reply, ErrorReply))
    return replies


def is_full(replies: Sequence[Any]) -> bool:
    """Return whether a step was refused because the server is full."""
    return any(isinstance(reply, ErrorReply) and diagnose(reply).kind is Kind.FULL for reply in replies)


def of_wrong_type(reply: Any) -> bool:
    """Return whether somebody put a value of another type there."""
    return isinstance(reply, ErrorReply) and reply.text.startswith("WRONGTYPE")


def hash_of(reply: Sequence[bytes]) -> dict[str, bytes]:
    """Return the reply of an HGETALL as a dict; bytes in a name that are no UTF-8 are replaced."""
    pairs = iter(reply)
    return {name.decode(errors="replace"): value for name, value in zip(pairs, pairs, strict=True)}


def scores_of(reply: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Return the reply of a range of a sorted set, WITHSCORES, as members and their whole scores."""
    pairs = iter(reply)
    return [(member, whole(score)) for member, score in zip(pairs, pairs, strict=True)]


def whole(score: bytes) -> int:
    """Return a score as a whole number; one that is infinite, or too large to be counted, as the largest."""
    return int(max(-_MOST, min(float(score), _MOST)))
