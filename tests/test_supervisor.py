import asyncio
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor.actor import Actor
from botvisor.cell import Cell
from botvisor.child import State
from botvisor.errors import StartFailed, StartTimeout, StrayCancellation, SupervisorStopped
from botvisor.events import ChildExhausted, ChildFailed, ChildStarted, ChildStuck
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor
from botvisor.task_child import TaskChild
from botvisor.testing.clock import virtual_time

pytestmark = pytest.mark.virtual_time

ONE_SECOND = Policy(base=1, cap=1, jitter=0)
native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


@asynccontextmanager
async def supervising():
    events = []
    supervisor = Supervisor(events.append)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            yield supervisor, events
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the end")


class Script:
    """A child's code: each of its lives does the next thing of a list, the last one over and over."""

    def __init__(self, *lives):
        self.lives = lives
        self.begun = []

    async def __call__(self, started):
        life = self.lives[min(len(self.begun), len(self.lives) - 1)]
        self.begun.append(anyio.current_time())
        if life == "dies in its start":
            raise ValueError("no luck")
        if life == "starts for ever":
            await anyio.sleep_forever()
        if life == "forgets to say so":
            return
        started()
        if isinstance(life, Exception):
            raise life
        await (anyio.sleep_forever() if life == "lives" else anyio.sleep(life))


async def test_a_start_returns_once_the_child_says_so():
    async def slow(started):
        await anyio.sleep(3)
        started()
        await anyio.sleep_forever()

    async with supervising() as (supervisor, events):
        start = anyio.current_time()
        record = await supervisor.start(TaskChild("a", slow), Policy())
        assert anyio.current_time() - start == pytest.approx(3)
        assert record.state is supervisor.state("a") is State.RUNNING
        assert events == [ChildStarted("a", 1)]


async def test_a_failed_start_names_the_child_and_frees_its_name():
    async with supervising() as (supervisor, _):
        with pytest.raises(StartFailed, match="a did not start: ValueError: no luck") as caught:
            await supervisor.start(TaskChild("a", Script("dies in its start")), Policy())
        assert caught.value.child == "a"
        assert supervisor.names() == []
        await supervisor.start(TaskChild("a", Script("lives")), Policy())


async def test_a_child_that_returns_before_it_has_started_did_not_start():
    async with supervising() as (supervisor, _):
        with pytest.raises(StartFailed, match="a did not start"):
            await supervisor.start(TaskChild("a", Script("forgets to say so")), Policy())


async def test_a_start_that_does_not_end_is_cut_off():
    async with supervising() as (supervisor, _):
        with pytest.raises(StartFailed) as caught:
            await supervisor.start(TaskChild("a", Script("starts for ever")), Policy(start_timeout=2))
        assert isinstance(caught.value.cause, StartTimeout)
        assert supervisor.names() == []


async def test_a_start_that_cannot_even_be_cancelled_is_given_up_and_shown():
    release = anyio.Event()

    async def stuck(_):
        with anyio.CancelScope(shield=True):
            await release.wait()

    async with supervising() as (supervisor, events):
        with pytest.raises(StartFailed) as caught:
            await supervisor.start(TaskChild("a", stuck), Policy(start_timeout=2))
        assert isinstance(caught.value.cause, StartTimeout)
        assert "stuck" in next(e.stack for e in events if isinstance(e, ChildStuck))
        release.set()


async def test_a_name_can_be_used_once_at_a_time():
    async with supervising() as (supervisor, _):
        await supervisor.start(TaskChild("a", Script("lives")), Policy())
        with pytest.raises(ValueError, match="'a' runs already"):
            await supervisor.start(TaskChild("a", Script("lives")), Policy())


async def test_nothing_starts_under_a_supervisor_that_has_stopped():
    async with supervising() as (supervisor, _):
        await supervisor.shutdown("early")
        with pytest.raises(SupervisorStopped):
            await supervisor.start(TaskChild("a", Script("lives")), Policy())


async def test_a_shutdown_ends_a_start_that_still_waits():
    async with supervising() as (supervisor, _), anyio.create_task_group() as group:

        async def start():
            with pytest.raises(SupervisorStopped):
                await supervisor.start(TaskChild("a", Script("starts for ever")), Policy())

        group.start_soon(start)
        await idle()
        await supervisor.shutdown("early")


async def test_a_stop_ends_a_start_that_still_waits():
    async with supervising() as (supervisor, _), anyio.create_task_group() as group:

        async def start():
            with pytest.raises(StartFailed, match="a is stopped"):
                await supervisor.start(TaskChild("a", Script("starts for ever")), Policy())

        group.start_soon(start)
        await idle()
        await supervisor.stop("a", "changed my mind")


async def test_a_start_whose_caller_is_cancelled_leaves_no_child_behind():
    async with supervising() as (supervisor, _):
        with anyio.move_on_after(1):
            await supervisor.start(TaskChild("a", Script("starts for ever")), Policy())
        await idle()
        assert supervisor.names() == []


async def test_a_failed_child_restarts_after_growing_backoffs():
    script = Script(ValueError("bad"), ValueError("bad"), ValueError("bad"), "lives")
    async with supervising() as (supervisor, events):
        await supervisor.start(TaskChild("a", script), Policy(base=1, cap=9, jitter=0))
        await anyio.sleep(10)
        start = script.begun[0]
        assert [round(at - start, 3) for at in script.begun] == [0, 1, 3, 7]
        assert [type(e) for e in events] == [ChildStarted, ChildFailed] * 3 + [ChildStarted]
        failed = events[1]
        assert (failed.child, str(failed.error), failed.delay_s, failed.budget_left) == ("a", "bad", 1, 4)


async def test_a_failing_start_of_a_restart_counts_against_the_budget():
    script = Script(ValueError("bad"), "dies in its start")
    async with supervising() as (supervisor, _):
        await supervisor.start(TaskChild("a", script), Policy(intensity=2, base=1, cap=1, jitter=0))
        await anyio.sleep(10)
        assert supervisor.state("a") is State.PARKED
        assert len(script.begun) == 3


async def test_the_ledger_says_what_happened_and_what_came_of_it():
    script = Script(ValueError("bad"), ValueError("bad"), "lives")
    async with supervising() as (supervisor, _):
        await supervisor.start(TaskChild("bot-1/a", script), Policy(intensity=1, base=2, cap=2, jitter=0))
        await anyio.sleep(5)
        first, second = supervisor.ledger.entries("bot-1/")
        assert (first.actor, first.error, first.message) == ("bot-1/a", "ValueError: bad", "")
        assert (first.backoff_s, first.budget_left) == (2, 0)
        assert (second.backoff_s, second.budget_left) == (None, 0)
        assert first.trace == second.trace
        assert supervisor.ledger.restarts("bot-1/") == 1
        assert supervisor.ledger.entries("bot-2/") == []


async def test_the_ledger_names_the_message_that_was_being_handled():
    class Moody(Actor):
        async def start(self, ctx):
            if ctx.generation == 2:
                raise ValueError("no luck")

    async with supervising() as (supervisor, _):
        cell = Cell("a", Moody, supervisor.timers)
        await supervisor.start(cell, ONE_SECOND)
        cell.ref.tell({})
        await anyio.sleep(5)
        assert [entry.message for entry in supervisor.ledger.entries()] == ["dict", ""]


async def test_a_child_that_used_up_its_restarts_is_parked_and_probed_until_it_lives():
    script = Script(ValueError("bad"), ValueError("bad"), "dies in its start", "lives")
    policy = Policy(intensity=1, period=200, base=1, cap=1, jitter=0, probe_after=100)
    async with supervising() as (supervisor, events):
        await supervisor.start(TaskChild("a", script), policy)
        await anyio.sleep(2)
        assert supervisor.state("a") is State.PARKED
        assert supervisor.names() == ["a"]
        exhausted = next(e for e in events if isinstance(e, ChildExhausted))
        assert (exhausted.parked, exhausted.probe_s) == (True, 100)
        await anyio.sleep(100)
        assert supervisor.state("a") is State.PARKED
        await anyio.sleep(100)
        assert supervisor.state("a") is State.RUNNING
        assert len(script.begun) == 4


async def test_where_the_policy_says_so_a_used_up_budget_ends_the_child():
    ended = []
    async with supervising() as (supervisor, _):
        policy = Policy(intensity=0, on_exhausted="stop")
        await supervisor.start(TaskChild("a", Script(ValueError("bad"))), policy, ended.append)
        await anyio.sleep(1)
        assert supervisor.names() == []
        (record,) = ended
        assert record.exhausted
        assert str(record.error) == "bad"


@pytest.mark.parametrize(
    ("kind", "life", "begun"),
    [
        ("permanent", 5, 2),
        ("permanent", ValueError("bad"), 2),
        ("transient", 5, 1),
        ("transient", ValueError("bad"), 2),
        ("temporary", 5, 1),
        ("temporary", ValueError("bad"), 1),
    ],
)
async def test_the_restart_type_says_which_ends_are_final(kind, life, begun):
    ended, script = [], Script(life, "lives")
    async with supervising() as (supervisor, _):
        policy = Policy(restart=kind, base=1, cap=1)
        await supervisor.start(TaskChild("a", script), policy, ended.append)
        await anyio.sleep(10)
        assert len(script.begun) == begun
        assert len(ended) == (begun == 1)
        if ended:
            assert ended[0].error is (life if isinstance(life, Exception) else None)


async def test_a_group_of_one_error_is_collapsed_and_a_real_group_is_kept_whole():
    one = ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("bad")])])
    two = ExceptionGroup("both", [ValueError("bad"), KeyError("worse")])
    async with supervising() as (supervisor, events):
        await supervisor.start(TaskChild("a", Script(one, two, "lives")), ONE_SECOND)
        await anyio.sleep(5)
        errors = [e.error for e in events if isinstance(e, ChildFailed)]
        assert type(errors[0]) is ValueError
        assert errors[1] is two


@native
async def test_a_stray_cancellation_restarts_that_child_alone():
    scripts = {name: Script("lives") for name in "abc"}
    async with supervising() as (supervisor, events):
        for name, script in scripts.items():
            await supervisor.start(TaskChild(name, script), ONE_SECOND)
        for task in asyncio.all_tasks():
            if task.get_name() == "b":
                task.cancel()
        await anyio.sleep(5)
        assert {name: len(script.begun) for name, script in scripts.items()} == {"a": 1, "b": 2, "c": 1}
        assert [type(e.error) for e in events if isinstance(e, ChildFailed)] == [StrayCancellation]


@native
async def test_a_stray_cancellation_of_the_timer_stops_no_clock():
    script = Script(ValueError("bad"), "lives")
    async with supervising() as (supervisor, _):
        await supervisor.start(TaskChild("a", script), ONE_SECOND)
        for task in asyncio.all_tasks():
            if task.get_name() == "botvisor timers":
                task.cancel()
        await anyio.sleep(5)
        assert supervisor.state("a") is State.RUNNING
        assert len(script.begun) == 2
