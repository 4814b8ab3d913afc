"""Fail-over: Redis while it answers, the files of this host while it does not, and the way back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.to_thread

from botvisor.errors import StoreError, StoreUnavailable
from botvisor.logs import Log
from botvisor.store import Command, WriteHeartbeat

from .acks import Acks
from .circuit import DEADLINE_S, Circuit
from .files import FileStore
from .forwarding import Forwarding
from .handled import Handled
from .link import Command as LinkCommand
from .merging import merge, settles
from .operations import Operations
from .placement import Placement, copy_of, for_redis, in_place_of
from .redis import RedisStore
from .replay import Replay
from .routing import Route, falls_back, routes_of
from .spool_access import SpoolAccess
from .spool_forwarder import SpoolForwarder

FORWARD_EVERY_S = 5.0  # a message for a bot elsewhere waits no longer in the spool

_PAUSE_S = 0.2
_PINGS = 2  # the first may only find that an old link is dead
_FILES_AT_LEAST_S = 1.0
_NO_FILES = "there are no files: BOT_FILE_FALLBACK is off"


class FailoverStore:
    """A store on Redis, and on files while Redis is away.

    No layer that tries again belongs beneath it or above it. Its `run` must run beside it: without that it
    never returns to Redis.

    Args:
        redis: the store on Redis.
        files: the store on files; None does without, and while Redis is away every command fails.
        log: where it says what it does; its `backend` becomes ``redis`` or ``file`` with each change.
        command_timeout_s: the limit of a batch; it is 2 s at most.
        seed: of the jitter; None draws one.

    Attributes:
        on_mode: what is called with each change of the mode; it must neither block nor raise.
    """

    def __init__(
        self,
        redis: RedisStore,
        files: FileStore | None,
        log: Log,
        *,
        command_timeout_s: float = DEADLINE_S,
        seed: int | None = None,
    ) -> None:
        self._redis = redis
        self._files = files
        self._log = log
        self._deadline_s = min(command_timeout_s, DEADLINE_S)
        self._circuit = Circuit(
            redis,
            log,
            self._lost_redis,
            falls_back=files is not None,
            deadline_s=self._deadline_s,
            seed=seed,
        )
        self.on_mode = self._circuit.on_change
        redis.on_other_server = self._start_anew
        self._replay = Replay(log)
        self._access = SpoolAccess(log)
        self._placement = Placement(self._circuit.ask, self._ask_spool)
        self._forwarder = SpoolForwarder(files.spool) if files is not None else None
        self._forwarding = (
            Forwarding(self._forwarder, self._circuit, self._access, log) if self._forwarder else None
        )
        acks = Acks(files.spool.directory) if files is not None else None
        self._handled = Handled(self._replay, acks, self._access)
        self._file_operations = Operations()

    def state(self) -> dict[str, Any]:
        """Return the figures for a heartbeat's health.

        Returns:
            ``mode``: ``redis``, ``file`` (``none`` without files) or ``recovering``; ``since_s``: for how
            long; ``reason``: why Redis is not used, or that it is full, and what to do; ``retries`` and
            ``fallbacks``: commands since the start; ``kept``: what Redis has yet to be told; ``redis`` and,
            with files, ``file``: see `Operations.figures`.
        """
        breaker, operations = self._circuit.breaker, self._circuit.operations
        modes = {"closed": "redis", "open": "none" if self._files is None else "file"}
        state = {
            "mode": modes.get(breaker.state, breaker.state),
            "since_s": round(time.monotonic() - breaker.since, 1),
            "reason": self._reason(),
            "retries": operations.retries,
            "fallbacks": operations.fallbacks,
            "kept": len(self._replay),
            "redis": operations.figures(),
        }
        return state if self._files is None else state | {"file": self._file_operations.figures()}

    async def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Carry out a batch, in order as far as one store is concerned; see `Store`.

        What Redis fails at within its 2 s is carried out on the files in the same call, if it can be.
        """
        began = time.perf_counter()
        if WriteHeartbeat in map(type, commands):
            self._replay.see([command for command in commands if isinstance(command, WriteHeartbeat)])
        answers = self._replay.newest(commands, await self._carry_out(commands, began))
        ask = self._circuit.ask if self._circuit.state == "closed" else None
        await self._handled.settle(commands, answers, ask)
        return answers

    async def look(self, commands: Sequence[LinkCommand]) -> list[Any]:
        """Carry out Redis commands that only read; see `Circuit.look`."""
        return await self._circuit.look(commands)

    async def ping(self) -> bool:
        """Return whether Redis answers. While it is away it is not asked: a probe will find it."""
        for _ in range(_PINGS):
            with contextlib.suppress(StoreUnavailable):
                return await self._circuit.look([(b"PING",)]) == [b"PONG"]
        return False

    async def run(self, started: Callable[[], None]) -> None:
        """Look for Redis while it is away, bring it up to date, and forward the spool. Never returns.

        Args:
            started: called at once.
        """
        started()
        async with anyio.create_task_group() as group:
            group.start_soon(self._circuit.watch)
            while True:
                changed = self._circuit.changed
                wait_s = await self.tend()
                with anyio.move_on_after(wait_s):
                    await changed.wait()

    async def tend(self) -> float:
        """Do what is due: a probe, the recovery, or forwarding the spool.

        Returns:
            The seconds until something is due again, unless the breaker changes before.
        """
        breaker = self._circuit.breaker
        if breaker.state == "closed":
            await self._catch_up()
            await self._circuit.keep_alive()
            return FORWARD_EVERY_S
        if breaker.state == "recovering":
            if await self._catch_up():
                # Nothing can have come since: there is no await in between.
                self._circuit.recovered(breaker.generation)
            return _PAUSE_S
        wait_s = breaker.probe_at - time.monotonic()
        if wait_s > 0:
            return wait_s
        await self._circuit.probe(self._replay.newest_beat())
        return 0.0

    async def aclose(self) -> None:
        """Close the link to Redis, and let go of every lease on files as the end of the process would."""
        await self._redis.aclose()
        if self._files is not None and self._forwarder is not None:
            await anyio.to_thread.run_sync(self._forwarder.close, abandon_on_cancel=True)
            await anyio.to_thread.run_sync(self._files.close, abandon_on_cancel=True)

    def _reason(self) -> str:
        return self._circuit.fullness.told if self._circuit.state == "closed" else self._circuit.told

    def _lost_redis(self) -> None:
        self._replay.lose()
        self._handled.lose()
        self._placement.forget()

    def _start_anew(self) -> None:
        """Another Redis is in use, without a break: what it may have forgotten goes there at once."""
        self._lost_redis()
        self._circuit.stir()

    async def _routes(self, commands: Sequence[Command], deadline: float) -> list[Route]:
        routes = routes_of(commands)
        if self._files is not None and Route.TARGET in routes and self._circuit.state == "closed":
            await self._placement.place(commands, routes, deadline)
        return routes

    async def _carry_out(self, commands: Sequence[Command], began: float) -> list[Any]:
        deadline = self._circuit.deadline()
        places, routes = range(len(commands)), await self._routes(commands, deadline)
        closed, both = self._circuit.state == "closed", self._files is not None
        kinds, to_files = set(routes), []
        if Route.FILES in kinds or Route.BOTH in kinds:
            to_files = [p for p in places if routes[p] is Route.FILES or (both and routes[p] is Route.BOTH)]
        asked = list(map(for_redis, commands, routes)) if Route.PAIR in kinds else commands
        by_redis: dict[int, Any] = {}
        by_files: dict[int, Any] = {}
        if not closed:
            by_redis.update((p, self._circuit.away()) for p in places if routes[p] is not Route.FILES)
        elif not to_files:
            answers = await self._circuit.ask(asked, deadline)
            if not _any_open(routes, kinds, answers):
                return answers
            by_redis.update(enumerate(answers))
        elif to_redis := [place for place in places if routes[place] is not Route.FILES]:
            async with anyio.create_task_group() as group:
                group.start_soon(self._ask_files, commands, to_files, by_files, began)
                found = await self._circuit.ask([asked[place] for place in to_redis], deadline)
                by_redis.update(zip(to_redis, found, strict=True))
            to_files = []
        left = [p for p, answer in by_redis.items() if both and _is_open(routes[p], answer)]
        failed = [p for p in left if _is_away(by_redis[p]) and falls_back(routes[p])]
        also = [p for p in left if not _is_away(by_redis[p])]
        self._circuit.operations.fallbacks += len(failed)
        # Before it is on the files: Redis may be back before that.
        take_back = {place: self._replay.keep(commands[place]) for place in failed}
        if later := sorted([*to_files, *failed, *also]):
            told = [copy_of(c) if p in also else c for p, c in enumerate(commands)] if also else commands
            await self._ask_files(told, later, by_files, began)
        for place in reversed(failed):
            if isinstance(by_files[place], StoreError):
                take_back[place]()
        return [self._answer(commands[p], routes[p], p, by_redis, by_files) for p in places]

    def _answer(
        self, command: Command, route: Route, place: int, by_redis: dict[int, Any], by_files: dict[int, Any]
    ) -> Any:
        answer = by_redis.get(place)
        if place not in by_files:
            # Those who can wait for Redis are not to complain of each command that met its end.
            return self._circuit.away() if _is_away(answer) and self._circuit.state != "closed" else answer
        if route is Route.BOTH or (route is Route.LATER_FILES and not _is_away(answer)):
            return merge(command, answer, by_files[place])
        if route is Route.PAIR and not _is_away(answer):
            return answer  # it is enough that Redis has it
        return in_place_of(answer, command, by_files[place])

    async def _ask_files(
        self, commands: Sequence[Command], places: list[int], answers: dict[int, Any], began: float
    ) -> None:
        if self._files is None:
            answers.update((place, StoreUnavailable(_NO_FILES)) for place in places)
            return
        asked_at, batch = time.perf_counter(), [commands[place] for place in places]
        left_s = self._deadline_s - (asked_at - began)
        found: list[Any] = [StoreUnavailable("the files did not answer in time") for _ in places]
        with anyio.move_on_after(max(left_s, _FILES_AT_LEAST_S)):
            found = await self._files.execute(batch)
        self._file_operations.add(batch, found, time.perf_counter() - asked_at)
        answers.update(zip(places, found, strict=True))

    async def _ask_spool(self, commands: Sequence[Command]) -> list[Any]:
        answers: dict[int, Any] = {}
        if commands:
            await self._ask_files(commands, list(range(len(commands))), answers, time.perf_counter())
        return [answers[place] for place in range(len(commands))]

    async def _catch_up(self) -> bool:
        """Tell Redis what it missed. Returns whether it answered to the end and nothing new has come."""
        while True:
            answered, told = await self._replay.run(self._circuit.attempt, self._handled.is_wanted)
            await self._handled.forget(told)
            if not (answered and (self._forwarding is None or await self._forwarding.run())):
                return False
            if not self._replay.fresh:
                return True


def _any_open(routes: list[Route], kinds: set[Route], answers: list[Any]) -> bool:
    """Return whether `_is_open` is true of one of them, mostly without asking it about each."""
    if Route.PAIR in kinds or any(issubclass(kind, StoreUnavailable) for kind in set(map(type, answers))):
        return any(map(_is_open, routes, answers))
    later = [answer for route, answer in zip(routes, answers, strict=True) if route is Route.LATER_FILES]
    return not all(map(settles, later))


def _is_open(route: Route, answer: Any) -> bool:
    """Return whether more is to be done about a command than what Redis has answered."""
    if isinstance(answer, StoreUnavailable):
        return True
    if route is Route.PAIR:
        return not isinstance(answer, Exception)
    return route is Route.LATER_FILES and not settles(answer)


def _is_away(answer: Any) -> bool:
    return isinstance(answer, StoreUnavailable)
