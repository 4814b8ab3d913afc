"""Whom to connect to first: one server, or any node of a Redis Cluster that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from .cluster_map import Node
from .redis_endpoint import Endpoint
from .redis_errors import EndpointUnusable, ErrorReply

L = TypeVar("L")

_ANSWER_S = 0.5  # at least, however many nodes share the time


class Seeds:
    """The nodes that the settings name, and those that the cluster has named since.

    Args:
        endpoint: the settings'.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._named = [endpoint.at(*node) for node in endpoint.nodes] or [endpoint]
        self._learned: list[Endpoint] = []
        self._turn = 0

    def learn(self, nodes: Sequence[Node]) -> None:
        """Remember the nodes of a cluster: the one that was named first may be gone the next time."""
        known = {(endpoint.host, endpoint.port) for endpoint in self._named}
        self._learned = [self._named[0].at(*node) for node in nodes if node not in known]

    async def open(self, open_one: Callable[[Endpoint, float], Awaitable[L]], timeout_s: float) -> L:
        """Open a link to the first that answers.

        Whoever gives up meanwhile begins with the next one the next time.

        Args:
            open_one: opens a link, within so many seconds.
            timeout_s: for all of them together, about.

        Raises:
            OSError, ErrorReply, EndpointUnusable: what the first one failed with, if all do.
        """
        endpoints = [*self._named, *self._learned]
        limit_s = max(timeout_s / len(endpoints), _ANSWER_S)
        errors: list[Exception] = []
        for _ in endpoints:
            endpoint = endpoints[self._turn % len(endpoints)]
            self._turn += 1
            try:
                link = await open_one(endpoint, limit_s)
            except (OSError, ErrorReply, EndpointUnusable) as error:
                errors.append(error)
                continue
            self._turn -= 1
            return link
        raise errors[0]
