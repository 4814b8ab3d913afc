"""What a server must be, and how it should be set up: looked at once for each new link."""

from __future__ import annotations

from . import redis_rules as rules
from .link import Link, Server
from .redis_errors import EndpointUnusable
from .redis_notices import Notices

OLDEST = (5,)
SAFE_POLICY = "noeviction"


async def check_server(link: Link, notices: Notices) -> None:
    """Refuse a server that will not do, and say once what endangers messages on one that will.

    What the server does not tell, as an access control list may forbid it, is taken to be in order.

    Args:
        link: a link to it, just opened.
        notices: told what somebody should set right.

    Raises:
        EndpointUnusable: when it is too old, or a Sentinel.
        LinkLost: when the link broke.
    """
    refuse_unfit(link.server)
    forbidden = sorted({str(reply) for reply in link.refused if reply.code == "NOPERM"})
    if forbidden:
        notices.once(
            f"Redis forbids what a new link asks first: {'; '.join(forbidden)}: "
            f"add to the ACL: {rules.HANDSHAKE}",
            "handshake",
        )
    (memory,) = await link.execute([("INFO", "memory")])
    policy = policy_in(memory) if isinstance(memory, bytes) else ""
    if policy in ("", SAFE_POLICY):
        notices.settled("eviction")
        return
    notices.once(
        f"Redis throws messages away once it is full, since its maxmemory-policy is {policy}: "
        f"set maxmemory-policy to {SAFE_POLICY}",
        "eviction",
        level="ERROR",
    )


def refuse_unfit(server: Server) -> None:
    """Raise `EndpointUnusable` for a server on which nothing of ours can work."""
    if server.mode == "sentinel":
        raise EndpointUnusable(
            "this is a Sentinel, and no server", "write redis+sentinel://host:port/service in REDIS_URL"
        )
    if server.kind == "redis" and () < server.version < OLDEST:
        version = ".".join(map(str, server.version))
        raise EndpointUnusable(f"this is Redis {version}", "Redis 5.0 or later is needed")


def policy_in(info: bytes) -> str:
    """Return the eviction policy that ``INFO memory`` tells; empty if it tells none."""
    for line in info.splitlines():
        name, _, value = line.partition(b":")
        if name == b"maxmemory_policy":
            return value.strip().decode(errors="replace")
    return ""
