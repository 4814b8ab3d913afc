"""One round trip: the steps of many plans as one transaction, and what becomes of each if one is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .cluster_map import Node
from .link import Command, Fence, Link
from .packed import Packed, pack, pack_one
from .redis_errors import ErrorReply, Kind, diagnose
from .redis_scripts import Call, Part, Script, Step

_ATTEMPTS = 3
_MULTI, _EXEC = pack((b"MULTI",)), pack((b"EXEC",))
_READS = frozenset(
    {b"EXISTS", b"GET", b"HGETALL", b"HMGET", b"LRANGE", b"PING", b"PTTL", b"SCAN", b"ZRANGE"}
    | {b"ZRANGEBYSCORE", b"ZREVRANGE", b"ZSCORE"}
)

Steps = Sequence[Step | Packed]


class Transactions:
    """Carries rounds of steps out on one link.

    A round is one MULTI and one EXEC, so that a write and its EXPIRE happen both or not at all; a round that
    only reads, or whose every write is one command, needs none. A command that is refused while it is queued
    aborts the whole transaction: its step gets the error, and the others are sent again without it.

    Args:
        link: the link.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._known: set[Script] = set()

    @property
    def links(self) -> list[Link]:
        """The link alone."""
        return [self.link]

    @property
    def fences(self) -> dict[Node | None, Fence]:
        """What fences the link off."""
        return {None: self.link.fence} if self.link.fence is not None else {}

    async def look(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out commands that only read. Returns a reply for each; errors stand in their places."""
        return await self.link.execute(commands)

    async def carry_out(self, steps: Steps) -> list[list[Any]]:
        """Return the replies of each step; errors stand in their places.

        Args:
            steps: the steps. All commands of one are carried out together, steps in their order.

        Raises:
            LinkLost: when the link broke; nobody knows what was carried out.
        """
        answers = await self._try(steps)
        for _ in range(_ATTEMPTS - 1):
            if all(answers):
                return answers
            places = [place for place, replies in enumerate(answers) if not replies]
            again = await self._try([steps[place] for place in places])
            for place, replies in zip(places, again, strict=True):
                answers[place] = replies
        return [
            replies or [ErrorReply("TRYAGAIN aborted with others again and again")] * len(step)
            for step, replies in zip(steps, answers, strict=True)
        ]

    async def _try(self, steps: Steps) -> list[list[Any]]:
        """Return the replies of each step, none at all for those that are to be sent again."""
        return await (self._transact(steps) if _must_be_whole(steps) else self._pipeline(steps))

    async def _pipeline(self, steps: Steps) -> list[list[Any]]:
        commands, scripts = self._render(steps)
        return self._settle(scripts, await self.link.execute(commands), steps)

    async def _transact(self, steps: Steps) -> list[list[Any]]:
        commands, scripts = self._render(steps)
        begun, *queued, executed = await self.link.execute([_MULTI, *commands, _EXEC])
        # Redis 5 on a read-only replica refuses every command, and then answers EXEC with an empty list.
        if isinstance(executed, list) and len(executed) == len(queued):
            return self._settle(scripts, executed, steps)
        refusals = [_error_of(replies) for replies in _split(queued, steps)]
        if isinstance(begun, ErrorReply) or not any(refusals):
            # It was refused as a whole: MULTI, and the rest was no transaction; or EXEC, which before Redis 7
            # can leave a transaction open behind it.
            await self.link.aclose()
            whole = _error_of((begun, executed)) or ErrorReply("TRYAGAIN the transaction was not carried out")
            return [[whole] * len(step) for step in steps]
        answers = [
            replies if error else [] for replies, error in zip(_split(queued, steps), refusals, strict=True)
        ]
        # A full server queues nothing, but it still reads, and lets scripts add that have freed before.
        bare = [place for place, error in enumerate(refusals) if _is_full(error)]
        bare = [place for place in bare if not _must_be_whole([steps[place]])]
        if bare:
            retried = await self._pipeline([steps[place] for place in bare])
            for place, replies in zip(bare, retried, strict=True):
                answers[place] = replies
        return answers

    def _render(self, steps: Steps) -> tuple[list[tuple[Part, ...] | Packed], set[Script]]:
        """Return the commands, and the scripts among them; what the server may not know comes in full."""
        commands: list[Any] = []
        once: set[bytes] = set()
        for step in steps:
            if isinstance(step, Packed):
                commands.append(step)
                once.add(step.once)
            else:
                commands += step
        # Their replies come behind those of the steps, and interest nobody.
        commands += [Packed(1, data) for data in once if data]
        if Call not in map(type, commands):
            return commands, set()
        known, rendered, scripts = set(self._known), [], set()
        for command in commands:
            if not isinstance(command, Call):
                rendered.append(command)
                continue
            rendered.append(command.by_name() if command.script in known else command.in_full())
            known.add(command.script)
            scripts.add(command.script)
        return rendered, scripts

    def _settle(self, scripts: set[Script], replies: list[Any], steps: Steps) -> list[list[Any]]:
        answers = _split(replies, steps)
        self._known |= scripts
        if scripts and any(map(_is_unknown_script, replies)):
            self._known.clear()  # somebody flushed them all
            answers = [[] if any(map(_is_unknown_script, each)) else each for each in answers]
        return answers


def _split(replies: list[Any], steps: Steps) -> list[list[Any]]:
    split, start = [], 0
    for step in steps:
        end = start + len(step)
        split.append(replies[start:end])
        start = end
    return split


def _must_be_whole(steps: Steps) -> bool:
    """Return whether one of them is several commands, and not only reads."""
    return any(len(step) > 1 and not only_reads(step) for step in steps)


def only_reads(step: Step | Packed) -> bool:
    """Return whether a step changes nothing."""
    if isinstance(step, Packed):
        return False
    return all(type(command) is tuple and command[0] in _READS for command in step)


def problem_of(step: Step | Packed) -> Exception | None:
    """Return why a step cannot be sent; None if it can."""
    for command in () if isinstance(step, Packed) else step:
        try:
            pack_one(command.by_name() if isinstance(command, Call) else command)
        except (TypeError, UnicodeError) as error:
            return error
    return None


def _error_of(replies: Sequence[Any]) -> ErrorReply | None:
    return next((reply for reply in replies if isinstance(reply, ErrorReply)), None)


def _is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, ErrorReply) and reply.code == "NOSCRIPT"


def _is_full(error: ErrorReply | None) -> bool:
    return error is not None and diagnose(error).kind is Kind.FULL
