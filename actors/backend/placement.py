"""Placement: whoever sends is to reach bots that use Redis, and bots of this host that keep to files."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from botvisor.errors import StoreUnavailable
from botvisor.receipt import Spooled
from botvisor.store import Command, IsServed, PushControl, PushMessage, Queue

from .routing import Route

Ask = Callable[[Sequence[Command]], Awaitable[list[Any]]]
AskBefore = Callable[[Sequence[Command], float], Awaitable[list[Any]]]

_REMEMBERED = 10_000
# A bot that stops and starts again without Redis misses what is sent to Redis meanwhile.
SERVED_S = 5.0
# All else may be wrong for longer and harm nobody: every bot finds what is in the spool, or on both.
UNSERVED_S = 1.0


class Placement:
    """Finds out where targets are served, and remembers it for a moment.

    Redis is asked first: a bot that uses it holds its locks on files as well.

    Args:
        redis: asks Redis, until a deadline.
        files: asks the files of this host.
    """

    def __init__(self, redis: AskBefore, files: Ask) -> None:
        self._redis = redis
        self._files = files
        self._known: OrderedDict[Queue, tuple[Route, float]] = OrderedDict()

    def forget(self) -> None:
        """Redis is away from now on: nobody knows who will use it when it is back."""
        self._known.clear()

    async def place(self, commands: Sequence[Command], routes: list[Route], deadline: float) -> None:
        """Replace each `Route.TARGET` by where its command is carried out.

        Args:
            commands: a batch.
            routes: its routes.
            deadline: until when Redis may answer; the batch itself has no longer.
        """
        now = time.monotonic()
        unknown: OrderedDict[Queue, list[int]] = OrderedDict()
        for place, route in enumerate(routes):
            if route is Route.TARGET:
                queue = _target(commands[place])
                known = self._known.get(queue)
                if known is not None and known[1] > now:
                    routes[place] = known[0]
                else:
                    unknown.setdefault(queue, []).append(place)
        if unknown:
            for places, route in zip(
                unknown.values(), await self._find(list(unknown), deadline), strict=True
            ):
                for place in places:
                    routes[place] = route

    async def _find(self, queues: Sequence[Queue], deadline: float) -> list[Route]:
        on_redis = await self._redis([IsServed(queue) for queue in queues], deadline)
        rest = [queue for queue, answer in zip(queues, on_redis, strict=True) if answer is False]
        on_files = dict(zip(rest, await self._files([IsServed(each) for each in rest]), strict=True))
        found: list[Route] = []
        for queue, answer in zip(queues, on_redis, strict=True):
            # Where Redis gives no answer, it will not take the command either.
            route = Route.EITHER
            if answer is False:
                route = Route.FILES if on_files[queue] is True else Route.PAIR
            if not isinstance(answer, Exception):
                self._remember(queue, route)
            found.append(route)
        return found

    def _remember(self, queue: Queue, route: Route) -> None:
        holds_s = SERVED_S if route is Route.EITHER else UNSERVED_S
        self._known[queue] = (route, time.monotonic() + holds_s)
        self._known.move_to_end(queue)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def for_redis(command: Command, route: Route) -> Command:
    """Return what Redis is told of a command, given its route."""
    if route is Route.PAIR and isinstance(command, PushMessage):
        return msgspec.structs.replace(command, durable=True)  # its mark tells when Redis has forgotten it
    return command


def copy_of(command: Command) -> Command:
    """Return what the files are told of a command of which Redis was told first."""
    if isinstance(command, (PushControl, PushMessage)):
        return msgspec.structs.replace(command, forwarded=True)
    return command


def in_place_of(redis: Any, command: Command, files: Any) -> Any:
    """Return what a command ends with that the files carried out: if Redis could not, a sender is told so.

    Args:
        redis: Redis's answer, an error; None if it was not asked.
        command: the command.
        files: that of the files.
    """
    if redis is not None and isinstance(command, (PushMessage, PushControl)):
        if isinstance(files, StoreUnavailable):
            return StoreUnavailable(f"{redis}, and {files}")
        if isinstance(command, PushMessage) and not isinstance(files, Exception):
            return Spooled(files, str(redis))
    return files


def _target(command: Command) -> Queue:
    if isinstance(command, PushMessage):
        return command.queue
    return Queue("bot", command.bot_id if isinstance(command, PushControl) else "")
