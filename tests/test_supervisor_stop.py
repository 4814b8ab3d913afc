from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor.child import State
from botvisor.events import ChildFailed, ChildStopped, ChildStuck
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
async def supervising(emit=None):
    events = []
    supervisor = Supervisor(emit or events.append)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            yield supervisor, events
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the end")


class Deaf(TaskChild):
    """Ends when `leave` is set, and hears no request to stop; it can be nudged, and notes when."""

    def __init__(self, name="deaf", **how):
        super().__init__(name, self._live)
        self.leave = anyio.Event()
        self.shielded = how.get("shielded", False)
        self.clean_up_s = how.get("clean_up_s", 0)
        self.nudges = how.get("nudges", False)
        self.nudged_at = None
        self.ends = []

    async def _live(self, started):
        started()
        try:
            with anyio.CancelScope(shield=self.shielded):
                await self.leave.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(self.clean_up_s)
            self.ends.append(anyio.current_time())

    def request_stop(self, reason):
        self.reason = reason

    def nudge(self):
        self.nudged_at = anyio.current_time()
        return self.nudges


async def lives(started):
    started()
    await anyio.sleep_forever()


async def crashes(started):
    started()
    raise ValueError("bad")


async def test_children_stop_in_the_reverse_order_of_their_start():
    async with supervising() as (supervisor, events):
        for name in "abc":
            await supervisor.start(TaskChild(name, lives), Policy())
        supervisor.restart("a")
        await idle()
        await supervisor.shutdown("done")
        assert [(e.child, e.reason) for e in events if isinstance(e, ChildStopped)] == [
            (name, "done") for name in "cba"
        ]


async def test_a_child_has_its_time_to_end_by_itself():
    async with supervising() as (supervisor, events):
        child, start = Deaf(), anyio.current_time()
        await supervisor.start(child, Policy())
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.stop, "deaf", "done")
            await anyio.sleep(4)
            child.leave.set()
        assert child.reason == "done"
        assert child.ends == [start + 4]
        assert events[-1] == ChildStopped("deaf", "done")


async def test_after_its_time_a_child_is_cancelled():
    async with supervising() as (supervisor, _):
        child, start = Deaf(), anyio.current_time()
        await supervisor.start(child, Policy(stop_timeout=3))
        await supervisor.stop("deaf", "done")
        assert child.ends == [pytest.approx(start + 3)]


@pytest.mark.parametrize("nudges", [True, False])
async def test_between_its_time_and_the_scopes_cancel_comes_a_gentle_one_if_there_is_one(nudges):
    async with supervising() as (supervisor, _):
        child, start = Deaf(nudges=nudges), anyio.current_time()
        await supervisor.start(child, Policy())
        await supervisor.stop("deaf", "done", within_s=3, cancel_grace_s=2)
        assert child.nudged_at == pytest.approx(start + 3)
        assert child.ends == [pytest.approx(start + (5 if nudges else 3))]


async def test_a_child_that_cannot_be_cancelled_is_left_and_named_with_its_stack():
    async with supervising() as (supervisor, events):
        child, start = Deaf(shielded=True), anyio.current_time()
        await supervisor.start(child, Policy())
        await supervisor.stop("deaf", "done", within_s=3)
        assert anyio.current_time() - start == pytest.approx(8)
        (report,) = [e for e in events if isinstance(e, ChildStuck)]
        assert report.waited_s == 5
        assert "_live" in report.stack
        assert supervisor.state("deaf") is State.ENDED
        assert supervisor.stuck
        child.leave.set()
        await idle()
        assert not supervisor.stuck


async def test_a_shutdown_does_not_wait_for_a_child_that_is_stuck():
    async with supervising() as (supervisor, _):
        child = Deaf(shielded=True)
        await supervisor.start(child, Policy())
        await supervisor.start(TaskChild("a", lives), Policy())
        with anyio.fail_after(20):
            await supervisor.shutdown("done")
        assert not supervisor.ended.is_set()
        child.leave.set()
        await supervisor.ended.wait()


async def test_a_clean_up_within_its_bounds_is_waited_for():
    async with supervising() as (supervisor, events):
        child, start = Deaf(clean_up_s=4), anyio.current_time()
        await supervisor.start(child, Policy())
        await supervisor.stop("deaf", "done", within_s=1)
        assert child.ends == [pytest.approx(start + 5)]
        assert not any(isinstance(e, ChildStuck) for e in events)


@pytest.mark.parametrize(("second", "ends"), [(1, 3), (60, 10)])
async def test_a_second_stop_can_only_hurry(second, ends):
    async with supervising() as (supervisor, _):
        child, start = Deaf(), anyio.current_time()
        await supervisor.start(child, Policy())
        async with anyio.create_task_group() as group:

            async def stop(after_s, within_s):
                await anyio.sleep(after_s)
                await supervisor.stop("deaf", "done", within_s=within_s)
                assert supervisor.state("deaf") is State.ENDED

            group.start_soon(stop, 0, 10)
            group.start_soon(stop, 2, second)
        assert child.ends == [pytest.approx(start + ends)]


async def test_a_stop_without_a_limit_leaves_nothing_in_the_timers():
    async with supervising() as (supervisor, _):
        child = Deaf()
        await supervisor.start(child, Policy())
        before = len(supervisor.timers._heap)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: supervisor.stop("deaf", "drain", within_s=float("inf")))
            await anyio.sleep(80_000)
            assert len(supervisor.timers._heap) <= before
            child.leave.set()


@pytest.mark.parametrize(
    ("policy", "state"), [(ONE_SECOND, State.BACKING_OFF), (Policy(intensity=0), State.PARKED)]
)
async def test_a_child_that_rests_is_stopped_at_once(policy, state):
    async with supervising() as (supervisor, events):
        start = anyio.current_time()
        await supervisor.start(TaskChild("a", crashes), policy)
        await idle()
        assert supervisor.state("a") is state
        await supervisor.stop("a", "done")
        assert anyio.current_time() - start < 0.1
        assert events[-1].child == "a"
        assert events[-1].reason == "done"
        await anyio.sleep(1000)
        assert supervisor.state("a") is State.ENDED


async def test_a_restart_does_not_disturb_a_child_that_stops():
    async with supervising() as (supervisor, _):
        child, start = Deaf(), anyio.current_time()
        await supervisor.start(child, Policy())
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.stop, "deaf", "done")
            await idle()
            supervisor.restart("deaf")
            await anyio.sleep(1)
            child.leave.set()
        assert child.ends == [pytest.approx(start + 1)]


async def test_a_child_that_is_being_restarted_can_be_stopped():
    async with supervising() as (supervisor, events):
        child = Deaf(clean_up_s=3)
        await supervisor.start(child, Policy())
        supervisor.restart("deaf")
        await idle()
        await supervisor.stop("deaf", "done", within_s=0.1)
        assert len(child.ends) == 1
        assert not any(isinstance(e, ChildStuck) for e in events)


async def test_a_child_that_is_stuck_in_a_restart_can_be_stopped():
    async with supervising() as (supervisor, _):
        child, start = Deaf(shielded=True), anyio.current_time()
        await supervisor.start(child, Policy())
        supervisor.restart("deaf")
        await anyio.sleep(60)
        assert supervisor.stuck
        await supervisor.stop("deaf", "done")
        assert anyio.current_time() - start < 70
        child.leave.set()


async def test_to_stop_what_does_not_run_is_fine():
    async with supervising() as (supervisor, _):
        await supervisor.stop("nobody", "done")


async def test_an_error_in_a_clean_up_is_told():
    async def careless(started):
        started()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("bad")

    async with supervising() as (supervisor, events):
        await supervisor.start(TaskChild("a", careless), Policy())
        await supervisor.stop("a", "done")
        assert str(events[-1].error) == "bad"
        assert [entry.error for entry in supervisor.ledger.entries()] == ["ValueError: bad"]


async def test_an_operators_restart_costs_no_budget_and_no_backoff():
    async with supervising() as (supervisor, events):
        child = Deaf()
        await supervisor.start(child, Policy(intensity=1))
        for n in range(1, 6):
            assert supervisor.restart("deaf")
            await idle()
            assert len(child.ends) == n
            assert supervisor.state("deaf") is State.RUNNING
        assert not any(isinstance(e, ChildFailed) for e in events)


@pytest.mark.parametrize("policy", [Policy(base=10), Policy(intensity=0)])
async def test_an_operators_restart_ends_a_backoff_or_a_rest_and_nothing_comes_of_it_later(policy):
    begun = []

    async def crashes_once(started):
        begun.append(anyio.current_time())
        started()
        if len(begun) == 1:
            raise ValueError("bad")
        await anyio.sleep_forever()

    async with supervising() as (supervisor, _):
        await supervisor.start(TaskChild("a", crashes_once), policy)
        await anyio.sleep(1)
        supervisor.restart("a")
        await idle()
        assert supervisor.state("a") is State.RUNNING
        await anyio.sleep(1000)
        assert len(begun) == 2
