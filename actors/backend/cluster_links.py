"""The links to all primaries of a Redis Cluster, which fail together as one server's would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import msgspec

from botvisor.wire import ALIVE_KEY

from .cluster_map import ClusterMap, Node, read_map, slot_of
from .link import Fence, Link, Server
from .redis_endpoint import Endpoint
from .redis_errors import ErrorReply
from .redis_scripts import Script

_HOME = slot_of(ALIVE_KEY.encode())


class Member(msgspec.Struct):
    """A node that we are connected to.

    Args:
        node: where it is.
        link: the link to it.
        known: the scripts that it knows from us.
    """

    node: Node
    link: Link
    known: set[Script] = msgspec.field(default_factory=set)


class ClusterLinks:
    """What a link is to one server: as soon as one of its links is broken, all of it is.

    Args:
        endpoint: how to log in to each node.
        connect_timeout_s: the limit for a link, in seconds.
        name: for CLIENT LIST.
        fences: of earlier links to nodes, to be killed before new ones are used.
    """

    def __init__(
        self, endpoint: Endpoint, *, connect_timeout_s: float, name: str, fences: Mapping[Node | None, Fence]
    ) -> None:
        self.address = endpoint.address
        self.map = ClusterMap()
        self._endpoint = endpoint
        self._connect_timeout_s = connect_timeout_s
        self._name = name
        self._fences = fences
        self._members: dict[Node, Member] = {}
        self._opening = anyio.Lock(fast_acquire=True)
        self._closed = False

    async def connect(self, first: Link, node: Node) -> None:
        """Learn from a node who the others are, and connect to all primaries.

        Args:
            first: a link to it, which is used if it is a primary, and closed if not.
            node: where it leads, as the others would name it.

        Raises:
            LinkLost, TimeoutError, ErrorReply, EndpointUnusable: see `Link.open`; then all are closed.
        """
        try:
            self.map = await ask_map(first, node)
            primaries = self.map.primaries()
            if node in primaries:
                self._members[node] = Member(node, first)
            if not primaries:
                raise ErrorReply("CLUSTERDOWN no node of the cluster has any slot")
            await self._open_all(primaries)
        except BaseException:
            await self.aclose()
            raise
        finally:
            if node not in self._members:
                await first.aclose()

    @property
    def broken(self) -> bool:
        """Whether one of them is, or all were closed."""
        return self._closed or any(member.link.broken for member in self._members.values())

    @property
    def server(self) -> Server:
        """What the node says of itself that has the index of the fleet; another run of any is another run."""
        runs = " ".join(sorted(link.server.run_id for link in self.links))
        return msgspec.structs.replace(self.home().link.server, run_id=runs)

    @property
    def fences(self) -> dict[Node | None, Fence]:
        """What fences the link to each node off; see `Link.fence`."""
        links = [(node, member.link) for node, member in self._members.items()]
        return {node: link.fence for node, link in links if link.fence is not None}

    @property
    def links(self) -> list[Link]:
        """The link to each node."""
        return [member.link for member in self._members.values()]

    @property
    def heard(self) -> bool:
        """Whether each that we wait for has said something; see `Link.heard`."""
        return all(link.heard for link in self._asked())

    def quiet_s(self) -> float:
        """Return for how long the quietest of those has been quiet; see `Link.quiet_s`."""
        return max(link.quiet_s() for link in self._asked())

    def server_ms(self) -> int:
        """Return the time of the node that has the index of the fleet; see `Link.server_ms`."""
        return self.home().link.server_ms()

    def home(self) -> Member:
        """Return the node that has the index of the fleet: what needs no certain node is asked there."""
        node = self.map.node_of(_HOME)
        return self._members.get(node, self._any()) if node is not None else self._any()

    async def to(self, node: Node) -> Member:
        """Return a node, connecting to it if need be.

        Raises:
            LinkLost, TimeoutError, ErrorReply, EndpointUnusable: see `Link.open`.
        """
        if (member := self._members.get(node)) is not None:
            return member
        async with self._opening:
            if node not in self._members:
                link = await self._open(node)
                self._members[node] = Member(node, link)
                if self._closed:  # meanwhile
                    await link.aclose()
            return self._members[node]

    async def look_again(self, node: Node) -> None:
        """Learn from a node who has which slots now.

        Raises:
            LinkLost, TimeoutError, ErrorReply, EndpointUnusable: see `Link.open`.
        """
        member = await self.to(node)
        found = await ask_map(member.link, node)
        if found.ends:
            self.map = found

    async def aclose(self) -> None:
        """Close them all."""
        self._closed = True
        async with anyio.create_task_group() as group:
            for member in self._members.values():
                group.start_soon(member.link.aclose)

    def _any(self) -> Member:
        return next(iter(self._members.values()))

    def _asked(self) -> list[Link]:
        """Return the links that something is expected on; all of them if it is none."""
        return [link for link in self.links if link.busy] or self.links

    async def _open_all(self, nodes: Sequence[Node]) -> None:
        failed: list[Exception] = []

        async def open_one(node: Node) -> None:
            try:
                self._members[node] = Member(node, await self._open(node))
            except Exception as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            for node in nodes:
                if node not in self._members:
                    group.start_soon(open_one, node)
        if failed:
            raise failed[0]

    async def _open(self, node: Node) -> Link:
        return await Link.open(
            self._endpoint.at(*node),
            connect_timeout_s=self._connect_timeout_s,
            name=self._name,
            fence=self._fences.get(node),
        )


async def ask_map(link: Link, node: Node | None = None) -> ClusterMap:
    """Return who has which slots, by what a node says.

    Args:
        link: a link to it.
        node: where it leads, for a node that does not know its own host.

    Raises:
        LinkLost: when the link broke.
        ErrorReply: when it does not tell.
    """
    (reply,) = await link.execute([("CLUSTER", "SLOTS")])
    return read_map(reply, node or Node("localhost", 0))
