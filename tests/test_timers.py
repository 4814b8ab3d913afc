import asyncio
from contextlib import asynccontextmanager

import anyio
import pytest
import trio

from botvisor.envelope import Reply
from botvisor.timers import Timers

pytestmark = pytest.mark.virtual_time


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


@asynccontextmanager
async def sweeping(timers):
    async with anyio.create_task_group() as group:
        group.start_soon(timers.run)
        await idle()
        yield
        group.cancel_scope.cancel()


class Calls:
    def __init__(self):
        self.start = anyio.current_time()
        self.seen = []

    def note(self, name):
        return lambda: self.seen.append((name, round(anyio.current_time() - self.start, 6)))

    def at(self, timers, after_s, name):
        timers.at(self.start + after_s, self.note(name))


async def test_calls_come_at_their_deadlines_in_order():
    timers, calls = Timers(), Calls()
    for after_s, name in ((30, "c"), (10, "a"), (20, "b")):
        calls.at(timers, after_s, name)
    async with sweeping(timers):
        await anyio.sleep(60)
    assert calls.seen == [("a", 10), ("b", 20), ("c", 30)]


async def test_equal_deadlines_keep_their_order():
    timers, calls = Timers(), Calls()
    async with sweeping(timers):
        for name in "abc":
            calls.at(timers, 5, name)
        await anyio.sleep(6)
    assert [name for name, _ in calls.seen] == ["a", "b", "c"]


async def test_an_earlier_deadline_cuts_the_wait_for_a_later_one_short():
    timers, calls = Timers(), Calls()
    calls.at(timers, 100, "late")
    async with sweeping(timers):
        calls.at(timers, 1, "early")
        await anyio.sleep(2)
        assert calls.seen == [("early", 1)]


async def test_a_deadline_that_has_passed_is_met_at_once():
    timers, calls = Timers(), Calls()
    async with sweeping(timers):
        calls.at(timers, -5, "past")
        await anyio.sleep(0.001)
    assert [name for name, _ in calls.seen] == ["past"]


async def test_a_call_may_set_the_next_one():
    timers, calls = Timers(), Calls()

    def tick():
        calls.note("tick")()
        timers.at(anyio.current_time() + 10, tick)

    timers.at(calls.start + 10, tick)
    async with sweeping(timers):
        await anyio.sleep(35)
    assert calls.seen == [("tick", 10), ("tick", 20), ("tick", 30)]


async def test_what_was_set_while_nobody_sweeps_is_not_forgotten():
    timers, calls = Timers(), Calls()
    async with sweeping(timers):
        calls.at(timers, 10, "a")
    calls.at(timers, 5, "b")
    async with sweeping(timers):
        await anyio.sleep(11)
    assert [name for name, _ in calls.seen] == ["b", "a"]


async def test_what_has_ended_is_not_expired():
    timers, reply = Timers(), Reply("actor", 1)
    timers.expire_at(anyio.current_time() + 1, reply)
    async with sweeping(timers):
        reply.succeed("in time")
        await anyio.sleep(2)
        assert await reply.wait() == "in time"


async def test_the_heap_does_not_keep_what_has_ended():
    timers = Timers()
    for _ in range(100_000):
        reply = Reply("actor", 3600)
        timers.expire_at(anyio.current_time() + 3600, reply)
        reply.succeed(None)
    assert len(timers._heap) <= 2_048


async def test_pruning_loses_nothing_that_still_counts():
    timers, calls = Timers(), Calls()
    for n in range(10_000):
        if n % 100 == 0:
            calls.at(timers, 50 + n, n)
        reply = Reply("actor", 1)
        timers.expire_at(calls.start + 10_000 - n, reply)
        reply.succeed(None)
    async with sweeping(timers):
        await anyio.sleep(20_000)
    assert [name for name, _ in calls.seen] == list(range(0, 10_000, 100))


async def test_a_call_that_prunes_the_heap_while_it_is_swept_loses_and_doubles_nothing():
    timers, calls = Timers(), Calls()

    def burst():
        for n in range(3_000):
            calls.at(timers, 2, n)

    timers.at(calls.start + 1, burst)
    calls.at(timers, 1, "beside")
    async with sweeping(timers):
        await anyio.sleep(3)
    assert [name for name, _ in calls.seen] == ["beside", *range(3_000)]


async def test_answered_asks_do_not_wake_the_sweeper_at_their_deadlines():
    class Counting(Timers):
        sweeps = 0

        def _sweep(self, now):
            self.sweeps += 1
            super()._sweep(now)

    timers = Counting()
    async with sweeping(timers):
        for _ in range(4_000):
            reply = Reply("actor", 1)
            timers.expire_at(anyio.current_time() + 1, reply)
            reply.succeed(None)
            await anyio.sleep(0.001)
    assert timers.sweeps < 60


async def test_a_deadline_that_never_comes_costs_nothing():
    timers, calls = Timers(), Calls()
    calls.at(timers, float("inf"), "never")
    assert not timers._heap


async def test_the_lag_is_how_late_a_deadline_was_noticed(anyio_backend_name):
    timers, calls = Timers(), Calls()
    calls.at(timers, 1, "a")
    async with sweeping(timers):
        await anyio.sleep(0.5)
        block_the_loop(anyio_backend_name, 0.9)
        await anyio.sleep(1)
        assert timers.take_lag_s() == pytest.approx(0.4, abs=0.01)
        assert timers.take_lag_s() == 0


async def test_the_lag_is_told_of_a_deadline_that_was_set_just_before_the_loop_stood_still(
    anyio_backend_name,
):
    timers, calls = Timers(), Calls()
    calls.at(timers, 10, "later")
    async with sweeping(timers):
        await anyio.sleep(0.5)
        calls.at(timers, 1, "soon")
        block_the_loop(anyio_backend_name, 0.9)
        await anyio.sleep(0.1)
        assert timers.take_lag_s() == pytest.approx(0.4, abs=0.01)


def block_the_loop(backend, seconds):
    if backend == "trio":
        trio.lowlevel.current_clock().jump(seconds)
    else:
        asyncio.get_running_loop()._virtual_now += seconds
