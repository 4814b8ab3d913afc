"""Which store a command is for while there are two: Redis, and the files of this host."""

from __future__ import annotations

from enum import Enum
from typing import Any

from botvisor.mending import ListDumps
from botvisor.store import Command, ListMessages, QueueCommand, ReadReceipt, Sweep, TakeControl


class Route(Enum):
    """Where a command is carried out."""

    REDIS = "on Redis alone"
    FILES = "on the files alone"
    EITHER = "on Redis while it is used, else on the files"
    BOTH = "on both: what is looked for may be in either"


_ROUTES = {"redis": Route.REDIS, "file": Route.FILES}
# A sender's Redis may have been away while ours was not, so what was sent is in either.
_BOTH = (ListMessages, ReadReceipt, Sweep, TakeControl)
_BY_KIND: dict[type[Command], Route] = {ListDumps: Route.FILES}  # of commands that are about no queue
_STATES = ("unknown", "stored", "delivered", "dead", "handled")  # the further a message has come, the later


def route_of(command: Command) -> Route:
    """Return where a command is carried out."""
    kind = type(command)
    route = _BY_KIND.get(kind)
    if route is None:
        route = Route.BOTH if issubclass(kind, _BOTH) else Route.EITHER
        if isinstance(command, QueueCommand):
            return _ROUTES.get(command.queue.store, route)
        _BY_KIND[kind] = route
    return route


def merge(command: Command, redis: Any, files: Any) -> Any:
    """Return what a command ends with that both stores were asked.

    One of two answers may be an error; the other is the result then. Only that a message is *unknown* cannot
    be said without both.

    Args:
        command: the command.
        redis: Redis's answer.
        files: that of the files.
    """
    if isinstance(redis, Exception):
        return redis if isinstance(files, Exception) or files == "unknown" else files
    if isinstance(files, Exception):
        return files if isinstance(command, Sweep) or redis == "unknown" else redis
    match command:
        case ReadReceipt():
            return max(redis, files, key=_STATES.index)
        case ListMessages():
            return sorted([*redis, *files], key=lambda message: message.stored_at)
    return redis + files
