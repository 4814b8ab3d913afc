"""Redis behind its breaker: each batch is timed and judged, and each change of backend is said once."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import anyio

from botvisor import tasks
from botvisor.errors import StoreAway
from botvisor.logs import Log
from botvisor.store import Command

from .breaker import SILENCE_S, Breaker, BreakerState, Failure, failed, judge, recovered, succeeded
from .complaints import Complaints
from .fullness import Fullness
from .link import Command as LinkCommand
from .operations import Operations
from .redis import RedisStore
from .redis_errors import Diagnosis, Kind, RedisUnavailable, unavailable
from .retry import trying_again

T = TypeVar("T")

ATTEMPTS = 3
DEADLINE_S = 2.0
BACKOFF_MIN_S = 0.05
BACKOFF_MAX_S = 0.5
IDLE_S = 20.0  # looked at every 5 s, and 1.5 s of silence: that a link has died is known within 30 s

_FILES_SHARE = 0.125  # of the deadline: what fails on Redis is to be carried out on the files yet
_MARGIN_S = 0.05  # silence counts from the sending, a little after the timer was set
_WATCH_S = 0.25
_SILENT = Diagnosis(Kind.SILENT, f"no answer for {SILENCE_S:g} s")


class Circuit:
    """Redis, as long as it answers.

    Args:
        redis: the store; nothing else tries again beneath it.
        log: where it says what it does; its `backend` is switched with each change.
        on_loss: called when Redis is left.
        falls_back: whether there are files to keep to meanwhile.
        deadline_s: the limit of a batch, all its attempts together.
        seed: of the jitter; None draws one.
        clock: the breaker's, in seconds.

    Attributes:
        breaker: the breaker.
        operations: what Redis was asked for, and how that went.
        reason: why Redis was left last.
        remedy: what somebody should do about it; empty when there is nothing to do but wait.
        changed: set with the next change of the breaker, and by `stir`; then another one takes its place.
        fullness: whether it has room.
        on_change: what is called with each change of these; it must neither block nor raise.
    """

    def __init__(
        self,
        redis: RedisStore,
        log: Log,
        on_loss: Callable[[], None],
        *,
        falls_back: bool,
        deadline_s: float = DEADLINE_S,
        seed: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.breaker = Breaker(since=clock())
        self.operations = Operations()
        self.reason = self.remedy = ""
        self.changed = anyio.Event()
        self.on_change: list[Callable[[], None]] = []
        self.fullness = Fullness(self.on_change)
        self._left_at = 0.0
        self._redis = redis
        self._log = log
        self._on_loss = on_loss
        self._falls_back = falls_back
        self._deadline_s = deadline_s
        self._random = random.Random(seed)  # noqa: S311 - jitter is no secret
        self._lost: object | None = None  # the link whose loss was counted last
        self._running: dict[anyio.CancelScope, float] = {}  # batches in flight; when they end at the latest
        self._complaints = Complaints(log, clock)
        self._time: Callable[[], float] = anyio.current_time  # of deadlines

    @property
    def state(self) -> BreakerState:
        """The breaker's state."""
        return self.breaker.state

    @property
    def told(self) -> str:
        """Why Redis was left last, and what somebody should do about it."""
        return f"{self.reason.removesuffix('.')}: {self.remedy}" if self.remedy else self.reason

    def away(self) -> StoreAway:
        """Return what a command ends with that only Redis could have carried out."""
        return StoreAway(f"Redis is away: {self.told}")

    def deadline(self) -> float:
        """Return when a batch that begins now ends at the latest, in seconds of `anyio.current_time`."""
        return self._time() + self._deadline_s * (1 - _FILES_SHARE)

    async def ask(self, commands: Sequence[Command], deadline: float | None = None) -> list[Any]:
        """Carry a batch out, trying up to three times as long as the breaker stays closed.

        Args:
            commands: the batch.
            deadline: when it ends at the latest; None for that of a batch that begins now.
        """
        deadline = self.deadline() if deadline is None else deadline
        answers = await self.attempt(commands, deadline)
        for attempt in range(ATTEMPTS - 1):
            if not unavailable(answers):
                break
            away = [p for p, answer in enumerate(answers) if isinstance(answer, RedisUnavailable)]
            pending = [place for place in away if answers[place].diagnosis.worth_retrying]
            if not pending or self.state != "closed":
                break
            wait_s = self._backoff_s(attempt)
            if anyio.current_time() + wait_s >= deadline:
                break
            self.operations.retries += len(pending)
            self._log.warning("client", trying_again(len(pending), answers[pending[0]]))
            generation = self.breaker.generation
            await anyio.sleep(wait_s)
            if self.breaker.generation != generation:
                break  # others found out meanwhile
            again = await self.attempt([commands[place] for place in pending], deadline)
            for place, answer in zip(pending, again, strict=True):
                answers[place] = answer
        return answers

    async def attempt(self, commands: Sequence[Command], deadline: float | None = None) -> list[Any]:
        """Carry a batch out once, and let the breaker know how it went.

        Args:
            commands: the batch.
            deadline: when it ends at the latest, in seconds of `anyio.current_time`.
        """
        generation, now, began = self.breaker.generation, self._time(), time.perf_counter()
        link = self._usable_link()
        latest = now + self._deadline_s if deadline is None else deadline
        answers: list[Any] | None = None
        scope = anyio.CancelScope(deadline=min(now + SILENCE_S + _MARGIN_S, latest))
        self._running[scope] = latest
        try:
            with scope:
                answers = await self._redis.execute(commands)
        finally:
            del self._running[scope]
        if answers is None:
            answers = [RedisUnavailable(_SILENT)] * len(commands)
            self._count_failure(self._judge_time_out(now), _SILENT, generation)
        else:
            self._count(answers, generation, link)
            self.fullness.see(commands, answers)
        self.operations.add(commands, answers, time.perf_counter() - began)
        return answers

    async def look(self, commands: Sequence[LinkCommand]) -> list[Any]:
        """Carry out Redis commands that only read, once.

        Returns:
            A reply for each; errors stand in their places.

        Raises:
            StoreUnavailable: when Redis is away, or does not answer.
        """
        if self.state != "closed":
            raise self.away()
        return await self._limited(lambda: self._redis.look(commands))

    async def probe(self, command: Command | None) -> None:
        """See, on a fresh link, whether Redis can be used again.

        Args:
            command: a write to do so with, since a replica answers a PING; None to make do with that.
        """
        began = self._clock()
        await self._redis.aclose()
        if command is not None:
            await self.attempt([command])
        else:
            await self._ping()
        took_ms = (self._clock() - began) * 1000
        then = f"next in {self.breaker.probe_at - self._clock():.1f} s" if self.state == "open" else "good"
        self._log.debug("client", f"Probe of {took_ms:.1f} ms: {then}")

    async def keep_alive(self) -> None:
        """See, after a while of quiet, whether the link is still there: before a caller does."""
        link = self._redis.link
        if self.state == "closed" and link is not None and link.quiet_s() >= IDLE_S:
            await self._ping()

    def recovered(self, generation: int) -> None:
        """Use Redis again: everything that was kept on files is there.

        Args:
            generation: the breaker's when the last batch of the recovery began.
        """
        self._move(recovered(self.breaker, generation=generation, now=self._clock()), None)

    async def watch(self) -> None:
        """Give batches that make progress their whole time: without this, each has 1.5 s. Never returns."""
        self._time = tasks.clock()
        while True:
            await anyio.sleep(_WATCH_S)
            link = self._redis.link
            if link is not None and link.heard and not link.broken:
                silent_at = anyio.current_time() - link.quiet_s() + SILENCE_S + _MARGIN_S
                for scope, latest in self._running.items():
                    scope.deadline = max(scope.deadline, min(latest, silent_at))

    def stir(self) -> None:
        """Wake who waits for a change."""
        self.changed.set()
        self.changed = anyio.Event()

    async def _ping(self) -> None:
        with contextlib.suppress(RedisUnavailable):
            await self._limited(self._redis.ping)

    async def _limited(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask Redis something outside of a batch, and let the breaker know how it went.

        Raises:
            RedisUnavailable: when it did not answer.
        """
        generation, now, link = self.breaker.generation, anyio.current_time(), self._usable_link()
        with anyio.move_on_after(SILENCE_S + _MARGIN_S):
            try:
                answer = await call()
            except RedisUnavailable as error:
                self._count([error], generation, link)
                raise
            self._count([None], generation, link)
            return answer
        self._count_failure(self._judge_time_out(now), _SILENT, generation)
        raise RedisUnavailable(_SILENT)

    def _judge_time_out(self, began: float) -> Failure | None:
        link, ran_s = self._redis.link, anyio.current_time() - began
        if link is None:  # it did not even get one
            return judge(timed_out=True, heard=False, quiet_s=ran_s)
        return judge(timed_out=True, heard=link.heard, quiet_s=min(ran_s, link.quiet_s()))

    def _usable_link(self) -> object | None:
        link = self._redis.link
        return link if link is not None and not link.broken else None

    def _count(self, answers: Sequence[Any], generation: int, used: object | None) -> None:
        diagnoses = [answer.diagnosis for answer in unavailable(answers)]
        for diagnosis in diagnoses:
            self._complaints.about(diagnosis)
        worst = next((each for each in diagnoses if each.failure is not None), None)
        if worst is None:  # also a server that is full has answered
            self._move(succeeded(self.breaker, generation=generation, now=self._clock()), None)
            return
        failure = worst.failure
        if failure is Failure.REFUSED:
            if used is not None and used is self._lost:
                return  # several were on their way over one link: it broke once
            link, self._lost = self._redis.link, used
            failure = judge(timed_out=False, heard=link is not None and link.heard, quiet_s=0.0)
        self._count_failure(failure, worst, generation)

    def _count_failure(self, failure: Failure | None, diagnosis: Diagnosis, generation: int) -> None:
        now, draw = self._clock(), self._random.random()
        self._move(failed(self.breaker, failure, generation=generation, now=now, draw=draw), diagnosis)

    def _move(self, breaker: Breaker, diagnosis: Diagnosis | None) -> None:
        before, self.breaker = self.breaker, breaker
        if breaker.generation == before.generation:
            return
        if diagnosis is not None:
            self.reason, self.remedy = diagnosis.reason, diagnosis.remedy
        if before.state == "closed":
            then = "falling back to files" if self._falls_back else "waiting for it, without files"
            self._log.info("client", f"Ping failed: {self.reason} - {then}")
            self._log.backend = "file" if self._falls_back else "redis"
            self._left_at = breaker.since
            self._on_loss()
        elif breaker.state == "closed":
            self._log.backend, away_s = "redis", breaker.since - self._left_at
            self._log.info("client", f"Ping answered after {away_s:.1f} s - back to Redis")
        self.stir()
        for call in self.on_change:
            call()

    def _backoff_s(self, attempt: int) -> float:
        # Full jitter: callers that failed together must not come back together.
        return self._random.uniform(BACKOFF_MIN_S, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 4.0 ** (attempt + 1)))
