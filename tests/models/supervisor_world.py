"""A supervisor, its actors and a `main`, and a book of what was sent and what became of it."""

import asyncio
import inspect
import itertools
from collections import Counter, defaultdict
from contextlib import suppress

import anyio
import pytest

from botvisor.actor import Actor, BatchActor
from botvisor.cell import Cell, Fault
from botvisor.errors import ActorError, AskTimeout, Reject, StartTimeout, StrayCancellation
from botvisor.events import ChildExhausted, ChildFailed, ChildStopped, ChildStuck
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor
from botvisor.task_child import TaskChild

EPSILON = 1e-3
VERBS = ("work", "nested", "stubborn", "refuse", "crash", "group", "exit", "hang")
HANGS_S = 10_000


class Planned(Exception):
    """What an actor of this test fails with."""


FAILURES = (Planned, StrayCancellation, StartTimeout, SystemExit)


def cancel_natively(name):
    """Cancel a task, as a library may do; one that has not begun cannot catch it and ends its whole group."""
    for task in asyncio.all_tasks():
        if task.get_name() == name and inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED:
            task.cancel()


def takes_batches(cell):
    return cell.name.startswith("Batch")


class Book:
    """What was sent, and what became of it."""

    def __init__(self):
        self.ids = 0
        self.deliveries = Counter()
        self.done = Counter()
        self.asked = {}
        self.ends = Counter()

    def compose(self, verb="work", seconds=0.01):
        self.ids += 1
        return self.ids, verb, seconds

    async def carry_out(self, message):
        number, verb, seconds = message
        self.deliveries[number] += 1
        assert self.deliveries[number] <= 2, message
        match verb:
            case "work" if seconds:
                await anyio.sleep(seconds)
            case "hang":
                await anyio.sleep(HANGS_S)
            case "nested":
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(anyio.sleep, seconds)
            case "stubborn":
                try:
                    await anyio.sleep(seconds)
                except BaseException as error:
                    raise Planned from error
            case "refuse":
                raise Reject(number)
            case "crash":
                raise Planned
            case "group":
                raise ExceptionGroup("one", [Planned()])
            case "exit":
                raise SystemExit(3)
        self.done[number] += 1
        return number


class Worker(Actor):
    """Its starts and stops take as long as a plan says, over and over; a minus stands for a failure."""

    def __init__(self, book, starts, plan):
        self.book = book
        self.starts = starts
        self.plan = plan

    async def start(self, ctx):
        self.starts.append(anyio.current_time())
        ctx.tell_after(7, self.book.compose())
        if ctx.generation > 1:
            seconds = next(self.plan)
            await anyio.sleep(abs(seconds))
            if seconds < 0:
                raise Planned

    async def handle(self, message):
        return await self.book.carry_out(message)

    async def stop(self, reason):
        await anyio.sleep(abs(next(self.plan)))


class BatchWorker(Worker, BatchActor):
    batch_limit = 5

    async def handle_batch(self, messages):
        return [await self.answer(message) for message in messages]

    async def answer(self, message):
        try:
            return await self.book.carry_out(message)
        except Reject as no:
            return no


class MainLike(TaskChild):
    """Works until it is told to stop, as `main` does."""

    kind = "temporary"
    parks = False

    def __init__(self):
        super().__init__("main", self.live)
        self.stopping = anyio.Event()
        self.ended_well = False

    async def live(self, started):
        started()
        await self.stopping.wait()
        self.ended_well = True

    def request_stop(self, reason):
        self.stopping.set()


class SupervisorWorld:
    """All of it.

    Args:
        seed: of the jitter.
    """

    def __init__(self, seed):
        self.book = Book()
        self.events = []
        self.supervisor = Supervisor(lambda e: self.events.append((anyio.current_time(), e)), seed=seed)
        self.cells = {}
        self.policies = {}
        self.starts = defaultdict(list)
        self.restarts = Counter()
        self.stopped_alone = set()
        self.main_may_stop = False
        self.main = MainLike()
        self.ending = anyio.Event()
        self.order = []

    async def live(self, started):
        async with anyio.create_task_group() as self.group:
            await self.group.start(self.run_supervisor)
            await self.supervisor.start(self.main, Policy())
            started.set()
            await self.ending.wait()
            await self.supervisor.shutdown("the end")

    async def run_supervisor(self, *, task_status):
        await self.supervisor.run(task_status=task_status)

    async def add_worker(self, kind, policy, plan, capacity):
        name = f"{kind.__name__}-{len(self.cells)}"
        starts, steps = self.starts[name], itertools.cycle(plan)
        cell = self.cells[name] = Cell(
            name, lambda: kind(self.book, starts, steps), self.supervisor.timers, capacity=capacity
        )
        self.policies[name] = policy
        self.order.append(name)
        await self.supervisor.start(cell, policy, self.worker_ended)

    def worker_ended(self, record):
        if record.exhausted:
            self.main_may_stop = True
            self.stop("main")

    def begin_ask(self, cell, message, timeout, patience):
        self.group.start_soon(self.ask, cell, message, timeout, patience)

    async def ask(self, cell, message, timeout, patience):
        number, start = message[0], anyio.current_time()
        self.book.asked[number] = False
        try:
            with anyio.move_on_after(patience):
                assert await cell.ref.ask(message, timeout=timeout) == number
                assert self.was_done(number, cell)
        except AskTimeout:
            assert anyio.current_time() == pytest.approx(start + timeout)
        except Reject:
            assert message[1] == "refuse"
        except ActorError:
            pass
        finally:
            self.book.ends[number] += 1
            # What is in a batch is handled with it, even if its own asker has gone meanwhile.
            self.book.asked[number] = self.book.deliveries[number] or takes_batches(cell)
        assert anyio.current_time() <= start + min(timeout, patience) + EPSILON

    def begin_ask_several(self, cell, messages, timeout, patience):
        self.group.start_soon(self.ask_several, cell, messages, timeout, patience)

    async def ask_several(self, cell, messages, timeout, patience):
        with anyio.move_on_after(patience):
            answers = await cell.ref.ask_all(messages, timeout=timeout)
            for (number, *_), answer in zip(messages, answers, strict=True):
                assert isinstance(answer, Exception) or (answer == number and self.was_done(number, cell))

    def was_done(self, number, cell):
        # A batch that is cancelled in its midst is handled again as a whole.
        return 1 <= self.book.done[number] <= (2 if takes_batches(cell) else 1)

    def crowd(self, cell):
        """Let an ask wait behind work that takes longer than its deadline."""
        self.tell(cell, self.book.compose("work", 3))
        self.begin_ask(cell, self.book.compose(), 0.4, 100)

    def tell(self, cell, message):
        with suppress(ActorError):
            cell.ref.tell(message)

    def crash(self, cell):
        self.tell(cell, Fault(Planned()))

    def restart(self, name):
        self.restarts[name] += self.supervisor.restart(name)

    def stop(self, name):
        self.stopped_alone.add(name)
        self.group.start_soon(self.supervisor.stop, name, "somebody wants it")

    def check_so_far(self):
        assert self.main_may_stop or not self.main.stopping.is_set(), "main was ended"
        assert all(count == 1 for count in self.book.ends.values())
        for name in self.cells:
            self.check_restarts(name)
            if name not in self.stopped_alone:
                self.check_that_it_is_started_again(name, anyio.current_time())

    def check_that_it_is_started_again(self, name, now):
        for at, event in self.events:
            if event.child != name or not isinstance(event, ChildFailed | ChildExhausted):
                continue
            if isinstance(event, ChildExhausted) and not event.parked:
                continue
            due = at + (event.delay_s if isinstance(event, ChildFailed) else self.policies[name].probe_after)
            if now > due + EPSILON:
                assert any(at <= start <= due + EPSILON for start in self.starts[name]), event

    def check(self):
        for number, may_be_done in self.book.asked.items():
            assert self.book.ends[number] == 1
            assert may_be_done or not self.book.deliveries[number], "an ask was handled after it had ended"
        for name, cell in self.cells.items():
            assert cell.mailbox.fates.total() == cell.mailbox.taken_in, name
            self.check_restarts(name)
        for _, event in self.events:
            assert not isinstance(event, ChildStuck), event.stack
            error = getattr(event, "error", None)
            assert isinstance(error, FAILURES) or str(error or "returned").startswith("returned"), error
        stopped = [event.child for _, event in self.events if isinstance(event, ChildStopped)]
        stopped = [name for name in stopped if name not in self.stopped_alone]
        assert stopped == [name for name in reversed(["main", *self.order]) if name in stopped]
        assert self.main.ended_well

    def check_restarts(self, name):
        events = [(at, event) for at, event in self.events if event.child == name]
        restarts = [at + event.delay_s for at, event in events if isinstance(event, ChildFailed)]
        for first, beyond in zip(restarts, restarts[self.policies[name].intensity :], strict=False):
            assert beyond - first >= self.policies[name].period - EPSILON, name
        probes = sum(isinstance(event, ChildExhausted) and event.parked for _, event in events)
        assert len(self.starts[name]) <= 1 + len(restarts) + probes + self.restarts[name]
