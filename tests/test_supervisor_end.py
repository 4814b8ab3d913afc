"""How a supervisor itself ends, and what does not end it."""

import asyncio
import gc
import inspect
import weakref

import anyio
import pytest

from botvisor.actor import Actor
from botvisor.cell import Cell
from botvisor.child import State
from botvisor.errors import ActorStopped, StrayCancellation, SupervisorStopped
from botvisor.events import ChildStarted
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor
from botvisor.task_child import TaskChild
from botvisor.testing.clock import virtual_time

pytestmark = pytest.mark.virtual_time

native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


async def lives(started):
    started()
    await anyio.sleep_forever()


async def crashes(started):
    started()
    raise ValueError("bad")


class Slow(Actor):
    async def handle(self, message):
        await anyio.sleep(message)


class Ticking(Actor):
    async def start(self, ctx):
        ctx.tell_after(3600, "tick")


async def test_after_a_shutdown_no_task_is_left():
    before = len(anyio.get_running_tasks())
    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        await supervisor.start(TaskChild("a", lives), Policy())
        await supervisor.start(TaskChild("b", crashes), Policy(base=1))
        cell = Cell("c", Slow, supervisor.timers)
        await supervisor.start(cell, Policy())
        cell.ref.tell(2)
        await supervisor.shutdown("done")
        await idle()
        assert len(anyio.get_running_tasks()) == before
    assert supervisor.names() == []


async def test_what_has_ended_is_not_held_until_its_deadlines_pass():
    supervisor, ended = Supervisor(), []
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        for number in range(300):
            cell = Cell(f"c{number}", Ticking, supervisor.timers)
            ended.append(weakref.ref(cell.mailbox))
            await supervisor.start(cell, Policy(start_timeout=3600, stop_timeout=3600))
            await supervisor.stop(cell.name, "done")
        gc.collect()
        assert sum(each() is not None for each in ended) < 100
        await supervisor.shutdown("the end")


async def test_two_shutdowns_at_once_both_return():
    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        await supervisor.start(TaskChild("a", lives), Policy())
        for _ in range(2):
            group.start_soon(supervisor.shutdown, "done")
    assert supervisor.ended.is_set()


async def test_a_shutdown_that_was_cancelled_can_be_repeated():
    async def deaf(started):
        started()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3)

    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        for name in "ab":
            await supervisor.start(TaskChild(name, deaf), Policy())
        with anyio.move_on_after(1):
            await supervisor.shutdown("done")
        await supervisor.shutdown("done")
    assert supervisor.names() == []


async def test_a_cancellation_from_outside_reaches_no_child_before_the_shutdown():
    seen = []

    async def works(started):
        started()
        for n in range(5):
            await anyio.sleep(1)
            seen.append(n)
        await anyio.sleep_forever()

    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        await supervisor.start(TaskChild("a", works), Policy())
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(6)
            assert seen == [0, 1, 2, 3, 4]
            assert supervisor.state("a") is State.RUNNING
            await supervisor.shutdown("done")


async def test_a_log_that_fails_ends_nothing_and_is_written_down():
    def broken(event):
        raise OSError("disk full")

    supervisor = Supervisor(broken)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        await supervisor.start(TaskChild("a", lives), Policy())
        assert supervisor.state("a") is State.RUNNING
        await supervisor.shutdown("done")
    assert supervisor.ledger.entries()[0].error == "OSError: disk full"


async def test_a_callback_is_called_once_and_may_fail():
    calls = []

    def ended(record):
        calls.append(record.name)
        raise RuntimeError("broken callback")

    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        for name in "ab":
            await supervisor.start(TaskChild(name, lives), Policy(), ended)
        await supervisor.stop("a", "done")
        await supervisor.shutdown("done")
    assert calls == ["a", "b"]


async def test_a_listener_may_ask_for_a_restart():
    generations = []

    def hear(event):
        if isinstance(event, ChildStarted):
            generations.append(event.generation)
            if event.generation < 4:
                supervisor.restart("a")

    supervisor = Supervisor(hear)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        await supervisor.start(TaskChild("a", lives), Policy())
        await idle()
        await supervisor.shutdown("done")
    assert generations == [1, 2, 3, 4]


@native
async def test_a_supervisor_that_is_cancelled_natively_leaves_nobody_waiting():
    ended = []
    supervisor = Supervisor()
    run = asyncio.ensure_future(supervisor.run())
    cell = Cell("a", Slow, supervisor.timers)
    await supervisor.start(cell, Policy(), ended.append)

    async def ask(seconds):
        with pytest.raises(ActorStopped):
            await cell.ref.ask(seconds, timeout=1000)

    async def start():
        with pytest.raises(SupervisorStopped):
            await supervisor.start(TaskChild("b", lambda _: anyio.sleep_forever()), Policy())

    async with anyio.create_task_group() as group:
        for call in (ask(100), ask(1), start(), supervisor.stop("a", "done", within_s=50)):
            group.start_soon(lambda call=call: call)
        await idle()
        run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert [record.name for record in ended] == ["a"]
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in == 2
    await supervisor.shutdown("too late")


@native
@pytest.mark.filterwarnings("ignore:.*never awaited")
async def test_a_child_cancelled_natively_before_its_first_step_ends_the_supervisor_with_an_error():
    supervisor = Supervisor()
    run = asyncio.ensure_future(supervisor.run())
    await supervisor.start(TaskChild("a", lives), Policy())
    supervisor.restart("a")
    for _ in range(20):
        await asyncio.sleep(0)
        for task in asyncio.all_tasks():
            unbegun = inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED
            if task.get_name() == "a" and unbegun:
                task.cancel()
    with pytest.raises(StrayCancellation):
        await run
    assert supervisor.names() == []
    gc.collect()  # the warning belongs to this test
