"""Redis commands as they are sent."""

from __future__ import annotations

from typing import Any

import hiredis
import msgspec

Command = tuple[bytes | str | int, ...]

pack_one: Any = hiredis.pack_command  # typed upstream as if a command were one word


class Packed(msgspec.Struct, frozen=True, gc=False):
    """Commands that are packed already, to be sent together.

    Args:
        count: how many they are.
        data: what is sent.
        once: one more, packed, that is the same for many: a transaction has it once, at its end.
    """

    count: int
    data: bytes
    once: bytes = b""

    def __len__(self) -> int:
        return self.count


def pack(*commands: Command) -> Packed:
    """Pack commands that are sent again and again, once.

    Raises:
        TypeError, UnicodeEncodeError: see `Link.execute`.
    """
    return Packed(len(commands), b"".join(map(pack_one, commands)))


def begin(*words: bytes, more: int) -> bytes:
    """Return how a command begins of which so many words more are to follow; see `bulk`."""
    return b"*%d\r\n%b" % (len(words) + more, b"".join(map(bulk, words)))


def bulk(word: bytes) -> bytes:
    """Return a word as a command has it."""
    return b"$%d\r\n%b\r\n" % (len(word), word)
