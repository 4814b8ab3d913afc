"""What a server says of itself, and what it lets us do: for `botvisor doctor`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from botvisor import wire
from botvisor.mending import ReadFacts

from .cluster_links import ClusterLinks
from .link import Link
from .redis_errors import ErrorReply, diagnose
from .redis_replies import check
from .redis_scripts import Plan, RedisCommand, Step

_PINGS = 5
_NOBODY = "botvisor-doctor"  # a bot's name that nobody bears
# One command for each right that a bot needs; none of them changes anything, or is heard by anybody.
_RIGHTS: dict[str, RedisCommand] = {
    "read heartbeats": (b"EXISTS", wire.heartbeat_key(_NOBODY).encode()),
    "read identities": (b"EXISTS", wire.identity_key("http://nowhere/", _NOBODY).encode()),
    "read the fleet": (b"EXISTS", wire.ALIVE_KEY.encode()),
    "write queues": (b"EXPIRE", wire.admin_queue(_NOBODY).encode(), wire.ADMIN_TTL_S),
    "ring bots": (b"PUBLISH", wire.admin_channel(_NOBODY).encode(), b""),
    "claim messages by scripts": (b"EVAL", b"return 1", 0),
}


class RedisFacts:
    """Asks a server about itself.

    Args:
        link: returns the link that it is asked on.
    """

    def __init__(self, link: Callable[[], Link | ClusterLinks | None]) -> None:
        self._link = link

    def read(self, _: ReadFacts) -> Plan:
        """Return the facts; see `ReadFacts`. What the server does not tell is left out.

        Returns:
            ``kind``: ``redis`` or ``valkey``; ``version``: a text; ``mode``; ``address``; ``info``: what INFO
            says, texts by names; ``policy``: its maxmemory-policy; ``user``: who we are in its access
            control list; ``latency_ms``: of the quickest of five PINGs, and ``latency_worst_ms``;
            ``skew_s``: how far its clock is ahead of ours; ``forbidden``: by each right that we lack, what
            would give it to us.
        """
        link = self._link()
        facts: dict[str, Any] = {}
        if link is not None:
            server = link.server
            facts = {
                "kind": server.kind,
                "version": ".".join(map(str, server.version)),
                "mode": server.mode,
                "address": link.address,
            }
        info = yield from _ask((b"INFO",))
        facts["info"] = _texts(info)
        policy = yield from _ask((b"CONFIG", b"GET", b"maxmemory-policy"))
        facts["policy"] = _second(policy) or facts["info"].get("maxmemory_policy")
        user = yield from _ask((b"ACL", b"WHOAMI"))
        facts["user"] = user.decode(errors="replace") if isinstance(user, bytes) else None
        times = []
        for _attempt in range(_PINGS):
            began = time.perf_counter()
            check((yield [(b"PING",)]))
            times.append((time.perf_counter() - began) * 1000)
        facts["latency_ms"], facts["latency_worst_ms"] = round(min(times), 2), round(max(times), 2)
        facts["skew_s"] = yield from _skew_s()
        forbidden = {}
        for right, command in _RIGHTS.items():
            answer = yield from _ask(command)
            if isinstance(answer, ErrorReply):
                forbidden[right] = str(diagnose(answer))
        facts["forbidden"] = forbidden
        return facts


def _ask(command: RedisCommand) -> Generator[Step, list[Any], Any]:
    """Return the reply to one command, an error too: the server may forbid it, or be too old for it."""
    (reply,) = yield [command]
    return reply


def _skew_s() -> Generator[Step, list[Any], float | None]:
    began = time.time()
    reply = yield from _ask((b"TIME",))
    ended = time.time()
    if not isinstance(reply, list):
        return None
    return round(int(reply[0]) + int(reply[1]) / 1e6 - (began + ended) / 2, 3)


def _texts(info: Any) -> dict[str, str]:
    if not isinstance(info, bytes):
        return {}
    lines = [line.partition(":") for line in info.decode(errors="replace").splitlines()]
    return {name: value for name, colon, value in lines if colon}


def _second(reply: Any) -> str | None:
    return reply[1].decode(errors="replace") if isinstance(reply, list) and len(reply) == 2 else None
