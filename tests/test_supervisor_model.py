"""Random lives of a supervisor and its actors, checked against what must always hold.

`BOTVISOR_TEST_SEEDS=500` tries the seeds 0 to 499 on each event loop instead of the first 40.
"""

import asyncio
import inspect
import os
import random
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

SEEDS = range(int(os.environ.get("BOTVISOR_TEST_SEEDS", "40")))
EPSILON = 1e-3
VERBS = ["work"] * 8 + ["nested", "stubborn", "refuse", "crash", "group", "exit"]


class Planned(Exception):
    """What an actor of this test fails with."""


FAILURES = (Planned, StrayCancellation, StartTimeout, SystemExit)


def cancel_natively(name):
    for task in asyncio.all_tasks():
        if task.get_name() == name and inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED:
            task.cancel()


def takes_batches(cell):
    return cell.name.startswith("Batch")


class Book:
    """What was sent, and what became of it."""

    def __init__(self, rng):
        self.rng = rng
        self.ids = 0
        self.deliveries = Counter()
        self.done = Counter()
        self.asked = {}
        self.ends = Counter()

    def compose(self):
        self.ids += 1
        return self.ids, self.rng.choice(VERBS), self.rng.choice([0, 0, 0.01, 0.5, 3, 20])

    async def carry_out(self, message):
        number, verb, seconds = message
        self.deliveries[number] += 1
        assert self.deliveries[number] <= 2, message
        match verb:
            case "work" if seconds:
                await anyio.sleep(seconds)
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
    def __init__(self, book, starts):
        self.book = book
        self.starts = starts

    async def start(self, ctx):
        self.starts.append(anyio.current_time())
        ctx.tell_after(self.book.rng.choice([0.2, 7]), self.book.compose())
        if ctx.generation > 1:
            await anyio.sleep(self.book.rng.choice([0, 0, 0.3, 6, 40]))
            if self.book.rng.random() < 0.2:
                raise Planned

    async def handle(self, message):
        return await self.book.carry_out(message)

    async def stop(self, reason):
        await anyio.sleep(self.book.rng.choice([0, 0.1, 9]))


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

    def __init__(self, work):
        super().__init__("main", self.live)
        self.work = work
        self.stopping = anyio.Event()
        self.ended_well = False

    async def live(self, started):
        started()
        while not self.stopping.is_set():
            with anyio.move_on_after(1):
                await self.work()
                await self.stopping.wait()
        self.ended_well = True

    def request_stop(self, reason):
        self.stopping.set()


class World:
    def __init__(self, seed, group):
        self.rng = random.Random(seed)
        self.book = Book(self.rng)
        self.group = group
        self.events = []
        self.supervisor = Supervisor(lambda e: self.events.append((anyio.current_time(), e)), seed=seed)
        self.cells = {}
        self.policies = {}
        self.starts = defaultdict(list)
        self.restarts = Counter()
        self.stopped_alone = set()
        self.main_may_stop = False
        self.main = MainLike(self.ask)

    def policy(self):
        choose = self.rng.choice
        with suppress(ValueError):
            return Policy(
                restart=choose(["permanent", "permanent", "transient", "temporary"]),
                intensity=choose([0, 1, 2, 3, 5]),
                period=choose([2, 20, 90]),
                base=choose([0.05, 1]),
                cap=choose([0.05, 4, 30]),
                jitter=choose([0, 0.5, 1]),
                healthy_after=choose([0, 1, 30]),
                on_exhausted=choose(["park", "park", "stop"]),
                probe_after=choose([0.5, 15, 60]),
                start_timeout=choose([1, 10]),
                stop_timeout=choose([0.1, 5]),
            )
        return self.policy()

    async def add_worker(self):
        kind = self.rng.choice([Worker, BatchWorker])
        name = f"{kind.__name__}-{len(self.cells)}"
        starts, policy = self.starts[name], self.policy()
        cell = self.cells[name] = Cell(
            name, lambda: kind(self.book, starts), self.supervisor.timers, capacity=self.rng.choice([2, 50])
        )
        self.policies[name] = policy
        await self.supervisor.start(cell, policy, self.worker_ended)

    def worker_ended(self, record):
        if record.exhausted:
            self.main_may_stop = True
            self.stop("main")

    def pick(self):
        return self.rng.choice(list(self.cells))

    async def ask(self):
        cell, message = self.cells[self.pick()], self.book.compose()
        timeout = self.rng.choice([0.001, 0.4, 5, 60])
        patience = self.rng.choice([0, 0.3, 4, 100, 100, 100])
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

    async def ask_several(self):
        cell, messages = self.cells[self.pick()], [self.book.compose() for _ in range(4)]
        with anyio.move_on_after(self.rng.choice([1, 100])):
            answers = await cell.ref.ask_all(messages, timeout=self.rng.choice([0.3, 30]))
            for (number, *_), answer in zip(messages, answers, strict=True):
                assert isinstance(answer, Exception) or (answer == number and self.was_done(number, cell))

    def was_done(self, number, cell):
        # A batch that is cancelled in its midst is handled again as a whole.
        return 1 <= self.book.done[number] <= (2 if takes_batches(cell) else 1)

    def stop(self, name):
        self.stopped_alone.add(name)
        self.group.start_soon(self.supervisor.stop, name, "somebody wants it")

    async def step(self, native):
        moves = ["ask"] * 18 + ["tell"] * 12 + ["sleep"] * 18
        moves += ["several", "restart", "crash"] * 3 + ["stop"] + ["cancel"] * native
        match self.rng.choice(moves):
            case "ask":
                self.group.start_soon(self.ask)
            case "several":
                self.group.start_soon(self.ask_several)
            case "tell" | "crash" as move:
                with suppress(ActorError):
                    message = Fault(Planned()) if move == "crash" else self.book.compose()
                    self.cells[self.pick()].ref.tell(message)
            case "restart":
                name = self.pick()
                self.restarts[name] += self.supervisor.restart(name)
            case "cancel":
                cancel_natively(self.pick())
            case "stop":
                self.stop(self.pick())
            case "sleep":
                await anyio.sleep(self.rng.choice([0, 0, 0.001, 0.1, 0.5, 2, 10, 50]))

    def check(self, order):
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
        assert stopped == [name for name in reversed(order) if name in stopped]
        assert self.main.ended_well

    def check_restarts(self, name):
        events = [(at, event) for at, event in self.events if event.child == name]
        restarts = [at + event.delay_s for at, event in events if isinstance(event, ChildFailed)]
        for first, beyond in zip(restarts, restarts[self.policies[name].intensity :], strict=False):
            assert beyond - first >= self.policies[name].period - EPSILON, name
        probes = sum(isinstance(event, ChildExhausted) and event.parked for _, event in events)
        assert len(self.starts[name]) <= 1 + len(restarts) + probes + self.restarts[name]


@pytest.mark.virtual_time
@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_the_rules_hold(seed, anyio_backend_name):
    before = len(anyio.get_running_tasks())
    async with anyio.create_task_group() as group:
        world = World(seed, group)
        await group.start(world.supervisor.run)
        try:
            for _ in range(world.rng.randint(1, 4)):
                await world.add_worker()
            await world.supervisor.start(world.main, Policy())
            for _ in range(120):
                await world.step(native=6 * (anyio_backend_name == "asyncio"))
            assert world.main_may_stop or not world.main.stopping.is_set()
        finally:
            with anyio.CancelScope(shield=True):
                await world.supervisor.shutdown("the end")
    assert len(anyio.get_running_tasks()) == before
    world.check([*world.cells, "main"])
