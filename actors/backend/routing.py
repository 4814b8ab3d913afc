"""Which store a command is for while there are two: Redis, and the files of this host."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from botvisor.mending import ForgetBot, ListDumps
from botvisor.store import (
    Command,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    PushControl,
    PushMessage,
    QueueCommand,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    Sweep,
    TakeControl,
)


class Route(Enum):
    """Where a command is carried out."""

    REDIS = "on Redis alone"
    FILES = "on the files alone"
    EITHER = "on Redis while it is used, else on the files"
    BOTH = "on both: what is looked for may be in either"
    LATER_FILES = "on Redis, then on the files if Redis does not know it; on the files while it is away"
    TARGET = "where its target is served: `Placement` tells"
    PAIR = "on Redis, and then on the files as well: its target is served nowhere yet"

    __hash__ = object.__hash__  # that of an enum is written in Python, and each command has a route


_ROUTES = {"redis": Route.REDIS, "file": Route.FILES}
# A sender's Redis may have been away while ours was not, so what was sent is in either. And a bot may keep to
# the files while others use Redis.
_BOTH = (ForgetBot, ListHeartbeats, ListIdentities, ListMessages, ReadReceipt, Sweep, TakeControl)
_BY_KIND: dict[type[Command], Route] = {
    **dict.fromkeys(_BOTH, Route.BOTH),
    ListDumps: Route.FILES,
    PushControl: Route.TARGET,
    PushMessage: Route.TARGET,
    ReadHeartbeat: Route.LATER_FILES,
    ReadIdentity: Route.LATER_FILES,
}


def routes_of(commands: Sequence[Command]) -> list[Route]:
    """Return where each command of a batch is carried out."""
    routes = [_BY_KIND.get(kind, Route.EITHER) for kind in map(type, commands)]
    for place, command in enumerate(commands):
        if isinstance(command, QueueCommand) and command.queue.store:
            routes[place] = _ROUTES[command.queue.store]
    return routes


def falls_back(route: Route) -> bool:
    """Return whether the files do what Redis could not."""
    return route not in (Route.REDIS, Route.FILES, Route.BOTH)
