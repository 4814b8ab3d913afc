"""Connecting to Redis: to one server, or to the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping

from .cluster import Cluster
from .cluster_links import ClusterLinks
from .cluster_map import Node
from .cluster_seeds import Seeds
from .link import Fence, Link
from .redis_endpoint import Endpoint
from .redis_notices import Notices
from .redis_server_checks import check_server
from .redis_transaction import Transactions

Carrier = Transactions | Cluster
"""What carries rounds of steps out."""


class Connector:
    """Connects to Redis, and fences off what it was connected to before.

    Args:
        endpoint: where Redis is.
        notices: told what somebody should set right on the server.
        connect_timeout_s: the limit for opening a link, in seconds.
        name: the links' name in CLIENT LIST.
    """

    def __init__(self, endpoint: Endpoint, notices: Notices, *, connect_timeout_s: float, name: str) -> None:
        self._endpoint = endpoint
        self._notices = notices
        self._connect_timeout_s = connect_timeout_s
        self._name = name
        self._seeds = Seeds(endpoint)
        self._fences: Mapping[Node | None, Fence] = {}

    async def connect(self) -> Carrier:
        """Connect to a server; if it says that it is a node of a cluster, to all that have slots.

        Raises:
            OSError, ErrorReply, EndpointUnusable: see `Link.open` and `check_server`.
        """
        link, node = await self._seeds.open(self._open, self._connect_timeout_s)
        carrier: Carrier = Transactions(link)
        try:
            if link.server.mode == "cluster" or self._endpoint.nodes:
                links = ClusterLinks(
                    self._endpoint,
                    connect_timeout_s=self._connect_timeout_s,
                    name=self._name,
                    fences=self._fences,
                )
                carrier = Cluster(links)
                await links.connect(link, node)
                self._seeds.learn(links.map.primaries())
            for each in carrier.links:
                await check_server(each, self._notices)
        except BaseException:
            await carrier.link.aclose()
            raise
        self._fences = {}
        return carrier

    def left(self, carrier: Carrier) -> None:
        """Remember to fence off what is not to be used any more."""
        self._fences = carrier.fences

    async def _open(self, endpoint: Endpoint, timeout_s: float) -> tuple[Link, Node]:
        node = Node(endpoint.host, endpoint.port)
        fence = self._fences.get(node, self._fences.get(None))
        return await Link.open(endpoint, connect_timeout_s=timeout_s, name=self._name, fence=fence), node
