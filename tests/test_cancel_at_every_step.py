"""An actor is cut off after each number of the event loop's turns: nothing is lost, or done thrice."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from botvisor.actor import Actor, BatchActor
from botvisor.cell import Cell
from botvisor.envelope import Fate
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor
from botvisor.testing.clock import virtual_time

pytestmark = pytest.mark.virtual_time

native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])
turns = pytest.mark.parametrize("turns", range(32))
kinds = pytest.mark.parametrize("batching", [False, True])


async def some_turns(number):
    for _ in range(number):
        await anyio.lowlevel.checkpoint()


class Counting(Actor):
    """Counts each message twice: as it comes, and when it is done."""

    def __init__(self, came, done):
        self.came, self.done = came, done

    async def start(self, ctx):
        await some_turns(2)

    async def handle(self, message):
        self.came[message] += 1
        await some_turns(3)
        self.done[message] += 1
        return message

    async def stop(self, reason):
        await some_turns(2)


class CountingBatches(Counting, BatchActor):
    batch_limit = 2

    async def handle_batch(self, messages):
        return [await self.handle(message) for message in messages]


@asynccontextmanager
async def counting(kind):
    supervisor, came, done = Supervisor(), Counter(), Counter()
    cell = Cell("subject", lambda: kind(came, done), supervisor.timers)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            await supervisor.start(cell, Policy(base=0.1))
            yield supervisor, cell, came, done
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the end")
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in


async def cut_off(kind, turns, cut):
    answers = {}
    async with counting(kind) as (supervisor, cell, came, done), anyio.create_task_group() as group:

        async def ask(message):
            answers[message] = await cell.ref.ask(message, timeout=60)

        for message in range(3):
            cell.ref.tell(message)
            group.start_soon(ask, message + 10)
        await some_turns(turns)
        cut(supervisor)
        await anyio.sleep(30)
        assert answers == {10: 10, 11: 11, 12: 12}
        assert set(done) == {0, 1, 2, 10, 11, 12}
        assert max(came.values()) <= 2
        fates = cell.mailbox.fates
        assert fates[Fate.HANDLED] + fates[Fate.REDELIVERED] == 6
        if kind is Counting:
            assert set(done.values()) == {1}


@turns
@kinds
async def test_an_operators_restart_at_any_step_loses_nothing(turns, batching):
    kind = CountingBatches if batching else Counting
    await cut_off(kind, turns, lambda supervisor: supervisor.restart("subject"))


@native
@turns
@kinds
async def test_a_native_cancel_at_any_step_loses_nothing(turns, batching):
    def cut(_):
        for task in asyncio.all_tasks():
            if task.get_name() == "subject":
                task.cancel()

    await cut_off(CountingBatches if batching else Counting, turns, cut)


@turns
async def test_a_stop_at_any_step_leaves_each_message_with_one_fate(turns):
    async with counting(Counting) as (supervisor, cell, _, done):
        for message in range(5):
            cell.ref.tell(message)
        supervisor.restart("subject")
        await some_turns(turns)
        await supervisor.stop("subject", "enough", within_s=0)
        assert cell.mailbox.fates.total() == 5
        assert set(done.values()) <= {1}
