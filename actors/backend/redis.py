"""The store on Redis: heartbeats, identities and queues, a batch to a round trip."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import msgspec

from botvisor.store import Command

from .cluster import Cluster
from .cluster_links import ClusterLinks
from .link import Command as LinkCommand
from .link import Link, Server
from .packed import Packed
from .quarantine import Notify
from .redis_bells import Bells
from .redis_connector import Carrier, Connector
from .redis_endpoint import Endpoint
from .redis_errors import EndpointUnusable, ErrorReply, Kind, RedisUnavailable, diagnose, told, unavailable
from .redis_notices import Notices
from .redis_planners import planners
from .redis_scripts import Plan, Step, no_result
from .redis_transaction import only_reads, problem_of
from .redis_wrong_types import set_aside

CONNECT_TIMEOUT_S = 5.0

# What the link raises. Whatever else a plan raises is its own command's result.
_LINK_ERRORS = (OSError, EndpointUnusable, ErrorReply)
# What plans find a way round.
_FOR_PLANS = (Kind.BAD_VALUE, Kind.FULL, Kind.NO_CHANNEL)


class _Running(msgspec.Struct, gc=False):
    """A command on its way: by its plan, or by its step alone as long as nothing goes wrong."""

    command: Command
    step: Step | Packed = ()
    plan: Plan | None = None
    finish: Callable[[Any, list[Any]], Any] = no_result
    result: Any = None
    mended: bool = False


class RedisStore:
    """A store on one Redis server, or on a Redis Cluster.

    A batch costs one round trip; listing, and what has to be mended, cost more. Several may be on their way
    at once: as long as nothing is refused, they are carried out in the order they came. The link is opened by
    the first batch, and anew by the first one after it broke; then the old link is fenced off, so that
    nothing it had sent is carried out later.

    It neither tries again nor waits: that is for whoever has the deadline and the breaker.

    Args:
        endpoint: where Redis is.
        notify: told, with a level and a text, of values that cannot be used and of what the server forbids.
        connect_timeout_s: the limit for opening a link, in seconds.
        name: the link's name in CLIENT LIST.

    Attributes:
        notices: says once what cannot be used, and what the server forbids.
        on_other_server: called when a link is to another server than the one before, or to one that was
            started again: it may have forgotten everything. It must neither block nor raise.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        notify: Notify | None = None,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        name: str = "botvisor",
    ) -> None:
        self._opening = anyio.Lock(fast_acquire=True)
        self._transactions: Carrier | None = None
        self._run_id = ""
        self.on_other_server: Callable[[], None] = lambda: None
        self.notices = Notices(notify or _ignore)
        self._connector = Connector(endpoint, self.notices, connect_timeout_s=connect_timeout_s, name=name)
        self._bells = Bells(self.notices)
        self._plans, self._quick = planners(self._server_ms, lambda: self.link, self._bells, self.notices)

    @property
    def link(self) -> Link | ClusterLinks | None:
        """The link, or those to a cluster, if it was opened and has not been discarded."""
        return self._transactions.link if self._transactions is not None else None

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch, in order; see `Store`.

        When Redis is away, refuses us or is full, a command's result is a `RedisUnavailable`.
        """
        if not commands:
            return []
        try:
            transactions = self._usable() or await self._open()
        except _LINK_ERRORS as error:
            return [told(error) for _ in commands]
        return await self._carry_out(commands, transactions)

    async def ping(self) -> Server:
        """Make sure that Redis answers, opening a link if need be. Returns what the server says of itself.

        Raises:
            RedisUnavailable: when it does not.
        """
        try:
            transactions = await self._open()
            ((reply,),) = await transactions.carry_out([[(b"PING",)]])
            if isinstance(reply, ErrorReply):
                raise reply
        except _LINK_ERRORS as error:
            raise RedisUnavailable(diagnose(error)) from error
        return transactions.link.server

    async def look(self, commands: Sequence[LinkCommand]) -> list[Any]:
        """Carry out Redis commands that only read, in one round trip.

        Returns:
            A reply for each; errors stand in their places.

        Raises:
            RedisUnavailable: when Redis does not answer.
        """
        try:
            return await (await self._open()).look(commands)
        except _LINK_ERRORS as error:
            raise RedisUnavailable(diagnose(error)) from error

    async def aclose(self) -> None:
        """Close the link. The next batch opens another."""
        if self._transactions is not None:
            await self._discard(self._transactions)

    def _usable(self) -> Carrier | None:
        transactions = self._transactions
        return transactions if transactions is not None and not transactions.link.broken else None

    async def _open(self) -> Carrier:
        async with self._opening:
            if (usable := self._usable()) is not None:
                return usable
            await self.aclose()
            self._transactions = transactions = await self._connector.connect()
            self._bells.try_again()
            before, self._run_id = self._run_id, transactions.link.server.run_id
            if before and before != self._run_id:
                self.on_other_server()
            return transactions

    async def _discard(self, transactions: Carrier) -> None:
        if self._transactions is transactions:  # another batch may have opened the next one meanwhile
            self._transactions = None
            self._connector.left(transactions)
        await transactions.link.aclose()

    async def _carry_out(self, commands: Sequence[Command], transactions: Carrier) -> list[Any]:
        batch = [_Running(command) for command in commands]
        # What is packed does not tell where its keys are.
        begin = self._go_on if isinstance(transactions, Cluster) else self._begin
        waiting = [running for running in batch if begin(running)]
        while waiting:
            waiting = self._advance(waiting, await _exchange(transactions, waiting))
        results = [running.result for running in batch]
        if any(each.diagnosis.wrong_server for each in unavailable(results)):
            await self._discard(transactions)
        return results

    def _begin(self, running: _Running) -> bool:
        """Find a command's first step. Returns whether there is one."""
        command = running.command
        quick = self._quick.get(type(command))
        if quick is not None:
            try:
                step = quick.step(command)
            except Exception:
                step = None  # what is wrong with it its plan will say
            if step is not None:
                running.step, running.finish = step, quick.finish
                return True
        return self._go_on(running)

    def _advance(self, waiting: Sequence[_Running], answers: Sequence[Any]) -> list[_Running]:
        """Hand commands their replies, or errors in their place. Returns those that want something next."""
        going_on = []
        for running, answer in zip(waiting, answers, strict=True):
            if running.plan is None:
                if isinstance(answer, Exception):
                    running.result = answer
                    continue
                if ErrorReply not in map(type, answer):
                    running.result = running.finish(running.command, answer)
                    continue
                error = next(reply for reply in answer if isinstance(reply, ErrorReply))
                if diagnose(error).kind not in _FOR_PLANS:
                    running.result = told(error)
                    continue
                answer = None
            if self._go_on(running, answer):
                going_on.append(running)
        return going_on

    def _plan(self, command: Command) -> Plan:
        planner = self._plans.get(type(command))
        return planner(command) if planner is not None else _unknown(command)

    def _go_on(self, running: _Running, answer: Any = None) -> bool:
        """Hand a plan its replies, or an error in their place. Returns whether it wants something next."""
        if (plan := running.plan) is None:
            plan = running.plan = self._plan(running.command)
        try:
            running.step = plan.throw(answer) if isinstance(answer, Exception) else plan.send(answer)
        except StopIteration as end:
            running.result = end.value
        except ErrorReply as error:
            if self._can_mend(running, error):
                return True
            running.result = told(error)
        except Exception as error:
            running.result = error
        else:
            return True
        return False

    def _can_mend(self, running: _Running, error: ErrorReply) -> bool:
        step = running.step
        if diagnose(error).kind is not Kind.BAD_VALUE or running.mended or isinstance(step, Packed):
            return False
        if only_reads(step):
            return False
        running.mended = True
        running.plan = self._mend(running.command, step)
        running.step = next(running.plan)
        return True

    def _mend(self, command: Command, step: Step) -> Plan:
        """Carry a command out again, after the values it stumbled over were moved out of its way."""
        for moved in (yield from set_aside(step)):
            self.notices.once(f"Moved {moved} on Redis, where another type is expected")
        return (yield from self._plan(command))

    def _server_ms(self) -> int:
        transactions = self._transactions
        return int(time.time() * 1000) if transactions is None else transactions.link.server_ms()


async def _exchange(transactions: Carrier, waiting: Sequence[_Running]) -> list[Any]:
    """Return the replies that each command waits for, or an error in their place."""
    try:
        return await transactions.carry_out([running.step for running in waiting])
    except _LINK_ERRORS as error:
        return [told(error) for _ in waiting]
    except (TypeError, UnicodeError):
        # Nothing was sent, as one of them holds what is neither bytes nor a number.
        problems = [problem_of(running.step) for running in waiting]
        sound = [running for running, problem in zip(waiting, problems, strict=True) if problem is None]
        if len(sound) == len(waiting):
            raise
        replies = iter(await _exchange(transactions, sound) if sound else ())
        return [next(replies) if problem is None else problem for problem in problems]


def _unknown(command: Command) -> Plan:
    yield from ()
    raise TypeError(f"RedisStore does not know {type(command).__name__}")


def _ignore(_level: str, _text: str) -> None:
    pass
