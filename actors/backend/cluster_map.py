"""Which node of a Redis Cluster has which key: slots, nodes, and what a node says of both.

The protocol is that of redis.io, "Redis cluster specification", as Redis 5 speaks it.
"""

from __future__ import annotations

import binascii
import bisect
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from .redis_errors import ErrorReply

SLOTS = 16_384

_QUEUE = b"admin:queue:"
_UNKNOWN = ("", "?")  # how a node announces itself that does not know its own host
# Of commands that name no key the node does not matter.
_KEYLESS = frozenset({b"ACL", b"CONFIG", b"INFO", b"PING", b"PUBLISH", b"SCAN", b"TIME"})
_CALLS = frozenset({b"EVAL", b"EVALSHA"})


class Node(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def slot_of(key: bytes) -> int:
    """Return a key's slot: of what stands in its first braces, if something does, else of all of it."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def slot_of_all(keys: Sequence[Any]) -> int | ErrorReply | None:
    """Return the slot that keys share; None if there are none; an error in place of the server's.

    Raises:
        UnicodeEncodeError: when a key holds a lone surrogate.
    """
    slots = set()
    for key in keys:
        name = key if isinstance(key, bytes) else str(key).encode()
        # What else belongs to this queue has its braces percent-encoded: it would be in another slot.
        if name.startswith(_QUEUE) and (b"{" in name or b"}" in name):
            return ErrorReply("ERR a room whose URL holds braces has no queue on a Redis Cluster")
        slots.add(slot_of(name))
    if len(slots) > 1:
        return ErrorReply("CROSSSLOT Keys in request don't hash to the same slot")
    return next(iter(slots), None)


def keys_in(words: Sequence[Any]) -> Sequence[Any]:
    """Return the keys that a command names: those that botvisor uses, which have one key but for a few."""
    name = words[0] if isinstance(words[0], bytes) else str(words[0]).encode()
    if name in _KEYLESS:
        return ()
    if name in _CALLS:
        return words[3 : 3 + int(words[2])]
    return words[1:] if name == b"EXISTS" else words[1:2]


class Redirect(NamedTuple):
    """Where a node says that a slot is, or a part of it while it moves."""

    slot: int
    node: Node
    asks: bool
    """Only for this one command: the slot is on its way there."""


def redirect_in(reply: Any, asked: Node) -> Redirect | None:
    """Return where a reply sends us; None if it is no redirection.

    Args:
        reply: the reply.
        asked: who gave it: the host is its own where the reply names none.
    """
    if not isinstance(reply, ErrorReply) or reply.code not in ("MOVED", "ASK"):
        return None
    code, _, rest = reply.text.partition(" ")
    slot, _, address = rest.partition(" ")
    host, _, port = address.strip().rpartition(":")
    host = host.strip("[]")
    if not slot.isdecimal() or not port.isdecimal():
        return None
    return Redirect(int(slot), Node(asked.host if host in _UNKNOWN else host, int(port)), code == "ASK")


class ClusterMap(msgspec.Struct, frozen=True):
    """Which primary has which slots.

    Args:
        ends: the last slot of each range, ascending.
        starts: the first one of each.
        nodes: who has it.
        moved: single slots that have been found elsewhere since.
    """

    ends: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
    nodes: tuple[Node, ...] = ()
    moved: Mapping[int, Node] = {}

    def node_of(self, slot: int) -> Node | None:
        """Return the primary of a slot; None if nobody has it."""
        if (node := self.moved.get(slot)) is not None:
            return node
        place = bisect.bisect_left(self.ends, slot)
        return self.nodes[place] if place < len(self.ends) and self.starts[place] <= slot else None

    def primaries(self) -> tuple[Node, ...]:
        """Return every primary that has slots, in an order of their own."""
        return tuple(sorted({*self.nodes, *self.moved.values()}))

    def with_moved(self, slot: int, node: Node) -> ClusterMap:
        """Return the map with one slot elsewhere."""
        return msgspec.structs.replace(self, moved={**self.moved, slot: node})


def read_map(reply: Any, asked: Node) -> ClusterMap:
    """Return the map that ``CLUSTER SLOTS`` tells.

    Args:
        reply: its reply.
        asked: who gave it; see `redirect_in`.

    Raises:
        ErrorReply: the reply, if it is one.
    """
    if isinstance(reply, ErrorReply):
        raise reply
    ranges = sorted((int(start), int(end), _node(primary, asked)) for start, end, primary, *_ in reply)
    return ClusterMap(
        ends=tuple(end for _, end, _ in ranges),
        starts=tuple(start for start, _, _ in ranges),
        nodes=tuple(node for _, _, node in ranges),
    )


def _node(told: Sequence[Any], asked: Node) -> Node:
    host = (told[0] or b"").decode(errors="replace")
    return Node(asked.host if host in _UNKNOWN else host, int(told[1]))
