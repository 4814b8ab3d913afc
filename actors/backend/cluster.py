"""One round trip on a Redis Cluster: to all nodes at once, and again where slots have moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from .cluster_links import ClusterLinks, Member
from .cluster_map import Node
from .cluster_units import Round, Unit
from .link import Command, Fence, Link
from .packed import Packed, pack_one
from .redis_errors import ErrorReply
from .redis_scripts import Script, Step

# For keys that are on their way, and for news to go round: each longer than the one before, 0.4 s in all.
_WAITS_S = (0.01, 0.02, 0.04, 0.08, 0.08, 0.08, 0.08)
_ATTEMPTS = len(_WAITS_S) + 1


class _Letter(msgspec.Struct):
    """What goes to one node."""

    member: Member
    units: list[Unit]
    commands: list[Command | Packed] = msgspec.field(default_factory=list)
    known: set[Script] = msgspec.field(default_factory=set)
    error: Exception | None = None


class Cluster:
    """Carries rounds of steps out on the nodes of a cluster; what `Transactions` is to one server.

    All that a step does in one slot is carried out together, steps in their order. What it does in several
    may be done in part when something fails; all of it may be sent again.

    Args:
        link: the links.
    """

    def __init__(self, link: ClusterLinks) -> None:
        self.link = link

    @property
    def links(self) -> list[Link]:
        """The link to each node."""
        return self.link.links

    @property
    def fences(self) -> dict[Node | None, Fence]:
        """What fences the link to each node off."""
        return self.link.fences

    async def look(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands that only read. Returns a reply for each; errors stand in their places."""
        steps: list[Step] = [[tuple(_word(word) for word in command)] for command in commands]
        return [reply for (reply,) in await self.carry_out(steps)]

    async def carry_out(self, steps: Sequence[Step | Packed]) -> list[list[Any]]:
        """Return the replies of each step; errors stand in their places.

        Args:
            steps: the steps.

        Raises:
            LinkLost, TimeoutError, ErrorReply, EndpointUnusable: when a node cannot be reached, or its link
                broke; nobody knows what was carried out.
        """
        carried = Round(steps, self.link.map)
        waiting = carried.units
        for attempt in range(_ATTEMPTS):
            await self._send(waiting)
            waiting = [unit for unit in waiting if unit.replies is None]
            if not waiting or attempt == _ATTEMPTS - 1:
                break
            await self._follow(waiting)
            # One redirection is followed at once. More of them are nodes that do not agree yet.
            if attempt or any(unit.error is not None and unit.error.code == "TRYAGAIN" for unit in waiting):
                await anyio.sleep(_WAITS_S[attempt])
        for unit in waiting:
            unit.give_up()
        return carried.replies()

    async def _follow(self, units: Sequence[Unit]) -> None:
        """Let each unit go where it was sent, and learn anew who has what if it is not as we thought."""
        moved: Node | None = None
        for unit in units:
            redirect = unit.redirect
            if redirect is None:
                continue
            unit.asks = redirect.asks
            unit.node = redirect.node if redirect.asks else None
            if not redirect.asks:
                moved = redirect.node
        if moved is not None:
            await self.link.look_again(moved)
        for unit in units:  # its news may be newer
            if unit.redirect is not None and not unit.redirect.asks:
                self.link.map = self.link.map.with_moved(unit.redirect.slot, unit.redirect.node)

    async def _send(self, units: Sequence[Unit]) -> None:
        letters = await self._write(units)
        if len(letters) == 1:
            await self._exchange(letters[0])
        elif letters:
            async with anyio.create_task_group() as group:
                for letter in letters:
                    group.start_soon(self._exchange, letter)
        for letter in letters:
            if letter.error is not None:
                raise letter.error

    async def _write(self, units: Sequence[Unit]) -> list[_Letter]:
        """Return what goes to each node; nothing is sent as long as something cannot be."""
        letters: dict[Node, _Letter] = {}
        for unit in units:
            member = await self._member_for(unit)
            if member is None:
                unit.replies = [ErrorReply("CLUSTERDOWN Hash slot not served")] * len(unit.commands)
                continue
            letter = letters.setdefault(member.node, _Letter(member, [], known=set(member.known)))
            letter.units.append(unit)
            letter.commands += unit.render(letter.known)
        for letter in letters.values():
            letter.commands = [_packed(letter.commands)]
        return list(letters.values())

    async def _member_for(self, unit: Unit) -> Member | None:
        if unit.node is not None:
            return await self.link.to(unit.node)
        if unit.slot is None:
            return self.link.home()
        node = self.link.map.node_of(unit.slot)
        return await self.link.to(node) if node is not None else None

    async def _exchange(self, letter: _Letter) -> None:
        member = letter.member
        try:
            replies = await member.link.execute(letter.commands)
        except OSError as error:
            letter.error = error
            return
        member.known |= letter.known
        start, usable = 0, True
        for unit in letter.units:
            usable &= unit.settle(replies[start : start + unit.count], member.node)
            start += unit.count
            if unit.error is not None and unit.error.code == "NOSCRIPT":
                member.known.clear()  # somebody flushed them all
        if not usable:
            await member.link.aclose()


def _packed(commands: Sequence[Command | Packed]) -> Packed:
    data = [each.data if isinstance(each, Packed) else pack_one(each) for each in commands]
    return Packed(len(data), b"".join(data))


def _word(word: bytes | str | int) -> bytes | str | int:
    return word.encode() if isinstance(word, str) else word
