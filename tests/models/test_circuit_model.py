"""The circuit over a Redis that fails in every way: its breaker, its attempts, its limits, what it says."""

import itertools

import anyio
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from loguru import logger

from botvisor.actors.backend.circuit import ATTEMPTS, Circuit
from botvisor.actors.backend.redis_errors import RedisUnavailable
from botvisor.errors import StoreUnavailable
from botvisor.logs import Log

from .breaker_model import BreakerModel
from .budget import examples
from .loop import Loop
from .scripted_redis import MODES, ScriptedRedis

DEADLINE_S = 2.0
EPSILON = 1e-6  # such sums of floats differ by less


class CircuitMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.loop = Loop()
        self.lines = []
        self.sink = logger.add(self.lines.append, level="INFO", format="{level} {message}")
        self.lost = self.changes = 0
        self.full = False
        self.model = BreakerModel(self.loop.now)
        self.redis = ScriptedRedis(self.model, lambda: self.loop.now)
        self.log = Log("redis")
        self.loop.run(self.begin())
        self.loop.keep(self.watch)

    async def begin(self):
        self.circuit = Circuit(
            self.redis, self.log, self.lose, falls_back=True, seed=1, clock=lambda: self.loop.now
        )
        self.circuit.on_change.append(self.change)

    async def watch(self, started):
        started.set()
        await self.circuit.watch()

    def lose(self):
        self.lost += 1

    def change(self):
        if self.full != bool(self.circuit.fullness.told):
            self.full = not self.full
        else:
            self.changes += 1

    @rule(mode=st.sampled_from(MODES))
    def redis_changes(self, mode):
        self.redis.mode = mode

    @rule(seconds=st.sampled_from([0.1, 1, 10, 29, 31, 200, 301]))
    def time_passes(self, seconds):
        self.loop.sleep(seconds)

    @precondition(lambda self: self.model.state == "closed")
    @rule(count=st.integers(1, 3))
    def ask(self, count):
        mode, refusals, before = self.redis.mode, self.model.refusals_in_a_row, self.redis.batches
        began, commands = self.loop.now, [f"command {number}" for number in range(count)]
        in_time = mode == "serves" or (mode == "trickles" and not self.redis.is_behind())
        answers = self.loop.run(self.circuit.ask(commands))
        attempts = self.redis.batches - before
        assert self.loop.now - began <= LIMITS_S.get(mode, DEADLINE_S) + EPSILON
        if in_time:
            assert answers == [f"answer to {command}" for command in commands]
        else:
            assert all(isinstance(answer, RedisUnavailable) for answer in answers)
        allowed = {"hangs up after a byte": ATTEMPTS, "refuses": 2 - refusals}
        assert attempts == allowed.get(mode, 1)
        assert (self.model.state == "closed") == (mode in CLOSED)

    @precondition(lambda self: self.model.state == "closed")
    @rule(count=st.integers(2, 5))
    def ask_at_once(self, count):
        """Several batches, each of which was begun before the first one told how it went."""

        async def ask():
            async with anyio.create_task_group() as group:
                for number in range(count):
                    group.start_soon(self.circuit.ask, [f"command {number}"])

        began = self.loop.now
        self.loop.run(ask())
        assert self.loop.now - began <= DEADLINE_S + EPSILON

    @precondition(lambda self: self.model.state == "recovering")
    @rule()
    def catch_up(self):
        generation = self.circuit.breaker.generation
        answers = self.loop.run(self.circuit.attempt(["what it missed"]))
        if not isinstance(answers[0], RedisUnavailable):
            self.circuit.recovered(generation)
            self.model.recovers(self.loop.now)

    @precondition(lambda self: self.model.state == "open")
    @rule(command=st.sampled_from(["heartbeat", None]))
    def probe(self, command):
        self.loop.sleep(max(0, self.circuit.breaker.probe_at - self.loop.now) + EPSILON)
        assert self.circuit.breaker.probe_is_due(self.loop.now)
        before, began, link = self.redis.batches, self.loop.now, self.redis.link
        self.redis.probes = True
        self.loop.run(self.circuit.probe(command))
        self.redis.probes = False
        assert self.redis.link is None or self.redis.link is not link
        assert self.redis.batches == before + 1  # one connection, no attempt more
        assert self.loop.now - began <= DEADLINE_S + EPSILON
        good = self.redis.mode in ("serves", "is full") or (self.redis.mode == "trickles" and command)
        assert (self.model.state == "recovering") == bool(good)

    @rule()
    def look(self):
        before, state = self.redis.batches, self.model.state
        try:
            self.loop.run(self.circuit.look([(b"PING",)]))
            assert state == "closed"
        except StoreUnavailable:
            assert state != "closed" or self.redis.mode != "serves"
        assert self.redis.batches == before + (state == "closed")

    @invariant()
    def its_breaker_does_what_the_model_does(self):
        self.model.check(self.circuit.breaker)
        assert self.changes == self.model.changes
        self.loop.check()

    @invariant()
    def it_is_told_once_that_redis_is_full(self):
        """No heartbeat is among these commands, and nothing else shows that there is room again."""
        said = any(line.startswith("ERROR") and "is full" in line for line in self.lines)
        assert self.full == bool(self.circuit.fullness.told)
        assert said or not self.full

    @invariant()
    def an_open_breaker_lets_nothing_through(self):
        assert self.redis.strays == 0

    @invariant()
    def each_loss_and_each_return_is_told_once(self):
        path = self.model.path
        losses = sum(pair == ("closed", "open") for pair in itertools.pairwise(path))
        assert self.lost == losses
        assert sum("Ping failed" in line for line in self.lines) == losses
        assert sum("back to Redis" in line for line in self.lines) == path[1:].count("closed")
        assert self.log.backend == ("redis" if path[-1] == "closed" else "file")

    @invariant()
    def what_needs_a_human_is_said_once_in_five_minutes(self):
        said, last = 0, {}
        for remedy, at in self.redis.remedies:
            said += at - last.get(remedy, -1e9) > 300
            last[remedy] = at
        assert sum(line.startswith("ERROR") for line in self.lines) == said

    def teardown(self):
        logger.remove(self.sink)
        self.loop.close()


# Without a wait before another attempt.
LIMITS_S = {"serves": 0.01, "is silent": 1.6, "loads": 0.01, "is a replica": 0.01, "wants a password": 0.01}
CLOSED = ("serves", "trickles", "trickles for ever", "is full", "hangs up after a byte")


def test_however_redis_fails_attempts_limits_and_words_are_as_they_should_be():
    run_state_machine_as_test(CircuitMachine, settings=examples(40, steps=30))
