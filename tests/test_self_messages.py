"""What an actor sends itself belongs to the incarnation that sent it."""

import asyncio
import contextvars
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor.actor import Actor
from botvisor.cell import Cell, Fault
from botvisor.child import State
from botvisor.envelope import Fate
from botvisor.errors import ActorStopped
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor

pytestmark = pytest.mark.virtual_time

ONE_SECOND = Policy(base=1, cap=1, jitter=0)
CRASH = Fault(ValueError("drill"))


class Clock(Actor):
    """Ticks every ten seconds, and notes in which generation and when."""

    def __init__(self, ticks):
        self.ticks = ticks

    async def start(self, ctx):
        self.ctx = ctx
        ctx.tell_after(10, "tick")

    async def handle(self, message):
        if message == "tick":
            self.ctx.tell_after(10, "tick")
            self.ticks.append((self.ctx.generation, anyio.current_time()))
        elif isinstance(message, float):
            await anyio.sleep(message)


@asynccontextmanager
async def running(kind=Clock, *, policy=ONE_SECOND, capacity=100):
    supervisor, notes = Supervisor(), []
    cell = Cell("clock", lambda: kind(notes), supervisor.timers, capacity=capacity)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            await supervisor.start(cell, policy)
            yield supervisor, cell, notes
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the end")
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in


def since(start, ticks):
    return [(generation, round(at - start, 3)) for generation, at in ticks]


class CalledBack(Clock):
    """Sets its tick where anyio knows no time: in a callback that no task of anyio's has begun."""

    async def start(self, ctx):
        self.ctx = ctx
        nowhere = contextvars.Context()
        asyncio.get_running_loop().call_soon(ctx.tell_after, 10, "tick", context=nowhere)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_callback_in_which_anyio_knows_no_time_sets_a_message_for_later():
    start = anyio.current_time()
    async with running(CalledBack) as (_, _, ticks):
        await anyio.sleep(15)
    assert since(start, ticks) == [(1, 10)]


async def test_a_message_set_for_later_comes_then():
    start = anyio.current_time()
    async with running() as (_, _, ticks):
        await anyio.sleep(35)
        assert since(start, ticks) == [(1, 10), (1, 20), (1, 30)]


async def test_a_message_set_for_later_does_not_reach_the_next_incarnation():
    start = anyio.current_time()
    async with running() as (_, cell, ticks):
        await anyio.sleep(9.5)
        cell.ref.tell(CRASH)  # the old tick falls into the backoff
        await anyio.sleep(26)
        assert since(start, ticks) == [(2, 20.5), (2, 30.5)]


async def test_a_waiting_message_of_an_incarnation_that_ended_is_a_dead_letter():
    start = anyio.current_time()
    async with running() as (_, cell, ticks):
        await anyio.sleep(9)
        cell.ref.tell(2.0)  # the tick waits behind it
        cell.ref.tell(CRASH)
        await anyio.sleep(30)
        assert since(start, ticks) == [(2, 22), (2, 32)]
        assert cell.mailbox.fates[Fate.DEAD_LETTERED] == 1


async def test_a_cancelled_message_to_itself_is_not_repeated():
    class Napping(Clock):
        async def handle(self, message):
            await super().handle(message)
            await anyio.sleep(5)

    start = anyio.current_time()
    async with running(Napping) as (supervisor, _, ticks):
        await anyio.sleep(12)
        supervisor.restart("clock")
        await anyio.sleep(12)
        assert since(start, ticks) == [(1, 10), (2, 22)]


class Eager(Clock):
    """Tells itself something while it starts."""

    async def start(self, ctx):
        self.ctx = ctx
        ctx.tell("tick")
        await anyio.sleep(1)


async def test_an_actor_that_starts_may_tell_itself_something():
    async with running(Eager) as (_, _, ticks):
        await anyio.sleep(0.001)
        assert [generation for generation, _ in ticks] == [1]


async def test_a_parked_actor_that_is_probed_may_tell_itself_something_too():
    policy = Policy(intensity=0, probe_after=50)
    async with running(Eager, policy=policy) as (supervisor, cell, ticks):
        cell.ref.tell(CRASH)
        await anyio.sleep(50.5)
        assert supervisor.state("clock") is State.STARTING
        with pytest.raises(ActorStopped):
            cell.ref.tell("from outside")
        await anyio.sleep(1)
        assert [generation for generation, _ in ticks] == [1, 2]


async def test_a_message_to_itself_waits_for_room_in_the_mailbox():
    start = anyio.current_time()
    async with running(capacity=1) as (_, cell, ticks):
        await anyio.sleep(9)
        cell.ref.tell(2.0)
        await anyio.sleep(0.001)
        cell.ref.tell("fills the mailbox")
        await anyio.sleep(5)
        assert since(start, ticks) == [(1, pytest.approx(11, abs=0.11))]


async def test_a_stopping_actor_gets_nothing_from_itself_any_more():
    async with running() as (supervisor, cell, ticks):
        await anyio.sleep(8)
        cell.ref.tell(4.0)
        await supervisor.stop("clock", "enough")
        assert ticks == []
