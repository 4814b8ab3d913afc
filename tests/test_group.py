"""Asks that wait for an actor together and reach it as one message."""

import traceback
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor import tasks
from botvisor.actor import BatchActor
from botvisor.cell import Cell
from botvisor.errors import ActorCrashed, ActorStopped, AskTimeout, MailboxFull, Reject
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor

pytestmark = pytest.mark.virtual_time

POLICY = Policy(base=1, cap=1, jitter=0)
MANY = 120


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


class Till(BatchActor):
    """Gives each message back, raises those that are errors and refuses texts that begin with "no"."""

    batch_limit = 50

    def __init__(self, seen, in_flight):
        self.seen = seen
        self.in_flight = in_flight

    async def handle_batch(self, messages):
        self.seen.append(list(messages))
        await anyio.sleep(1)
        for message in messages:
            if isinstance(message, Exception):
                raise message
        return [Reject(each) if str(each).startswith("no") else each for each in messages]


class Asks:
    """Asks in the background; how and when each ended."""

    def __init__(self, group, ref):
        self.group = group
        self.ref = ref
        self.began = anyio.current_time()
        self.ends = {}

    def begin(self, *messages, timeout=60):
        """Ask several things at once. Returns what cancels these asks."""
        scope = anyio.CancelScope()
        self.group.start_soon(self._ask_all, scope, messages, timeout)
        return scope

    async def _ask_all(self, scope, messages, timeout):
        with scope:
            async with anyio.create_task_group() as group:
                for message in messages:
                    group.start_soon(self._ask, message, timeout)

    async def _ask(self, message, timeout):
        try:
            end = await self.ref.ask(message, timeout=timeout)
        except Exception as error:
            end = type(error)
        assert message not in self.ends
        self.ends[message] = (end, round(anyio.current_time() - self.began, 1))


@asynccontextmanager
async def running(*, capacity=100, in_flight=1):
    """Run a till; yields its supervisor, its cell, what came in which batch, and asks."""
    supervisor, seen = Supervisor(), []
    cell = Cell("till", lambda: Till(seen, in_flight), supervisor.timers, capacity=capacity, gathers=True)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            await supervisor.start(cell, POLICY)
            asks = Asks(group, cell.ref)
            yield supervisor, cell, seen, asks
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the test is over")
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in


async def test_each_ask_gets_its_own_answer_and_no_batch_is_over_the_limit():
    async with running(capacity=MANY) as (_, cell, seen, asks):
        asks.begin(*range(MANY))
        await anyio.sleep(5)
        assert {message: end for message, (end, _) in asks.ends.items()} == {n: n for n in range(MANY)}
        assert [len(batch) for batch in seen] == [50, 50, 20]
        # On trio nothing is gathered.
        assert cell.mailbox.taken_in == (MANY if tasks.on_trio() else 3)


async def test_what_is_asked_while_the_actor_is_busy_is_the_next_batch():
    async with running() as (_, _, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b", "c")
        await anyio.sleep(0.2)
        asks.begin("d")
        await anyio.sleep(2)
        assert seen == [["a"], ["b", "c", "d"]] or tasks.on_trio()
        assert asks.ends == {"a": ("a", 1), "b": ("b", 2), "c": ("c", 2), "d": ("d", 2)}


async def test_few_asks_wait_for_the_batch_that_is_handled_and_many_are_a_batch_beside_it():
    async with running(in_flight=2) as (_, _, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin(*range(15))
        await idle()
        assert seen == [["a"]] or tasks.on_trio()
        asks.begin(15)
        await idle()
        assert [sorted(batch, key=str) for batch in seen[1:]] == [
            sorted(range(16), key=str)
        ] or tasks.on_trio()
        asks.begin("b")
        await anyio.sleep(2)
        assert asks.ends["a"] == ("a", 1)
        assert asks.ends[7][1] == 1.5
        # On trio nothing is gathered: whatever comes while there is room for a batch is one.
        assert asks.ends["b"] == ("b", 2) or tasks.on_trio()


async def test_a_refused_ask_fails_alone():
    async with running() as (_, _, _, asks):
        asks.begin("yes", "no", "maybe")
        await anyio.sleep(2)
        assert {message: end for message, (end, _) in asks.ends.items()} == {
            "yes": "yes", "no": Reject, "maybe": "maybe",
        }  # fmt: skip


async def test_an_ask_that_is_cancelled_as_it_waits_is_not_carried_out():
    async with running() as (_, _, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b")
        scope = asks.begin("c")
        asks.begin("d")
        await idle()
        scope.cancel()
        await anyio.sleep(3)
        assert sorted(message for batch in seen for message in batch) == ["a", "b", "d"]
        assert sorted(asks.ends) == ["a", "b", "d"]


async def test_a_group_that_everybody_has_left_costs_nothing():
    async with running() as (_, _, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        scope = asks.begin("b", "c")
        await idle()
        scope.cancel()
        await anyio.sleep(1)
        asks.begin("d")
        await anyio.sleep(2)
        assert seen == [["a"], ["d"]]


async def test_an_ask_that_is_cancelled_as_it_is_handled_leaves_the_others_their_answers():
    async with running() as (_, _, _, asks):
        asks.begin("a", "b")
        scope = asks.begin("c")
        await anyio.sleep(0.5)
        scope.cancel()
        await anyio.sleep(2)
        assert asks.ends == {"a": ("a", 1), "b": ("b", 1)}


async def test_each_ask_has_its_own_deadline_whoever_it_waits_with():
    async with running() as (_, _, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b", "c", timeout=0.3)
        asks.begin("d", timeout=0.4)
        await anyio.sleep(0.1)
        asks.begin("e", timeout=0.3)
        await anyio.sleep(3)
        assert asks.ends == {
            "a": ("a", 1),
            "b": (AskTimeout, 0.8), "c": (AskTimeout, 0.8), "d": (AskTimeout, 0.9), "e": (AskTimeout, 0.9),
        }  # fmt: skip
        assert seen == [["a"]]


async def test_a_crash_ends_those_in_the_batch_and_the_others_wait_for_the_restart():
    error = ValueError("no good")
    async with running() as (_, _, _, asks):
        asks.begin("a", error)
        await anyio.sleep(0.5)
        asks.begin("b")
        await anyio.sleep(5)
        assert asks.ends == {"a": (ActorCrashed, 1), error: (ActorCrashed, 1), "b": ("b", 3)}


async def test_of_a_crash_each_is_told_in_an_error_of_its_own():
    errors = []

    async def ask(ref, message):
        try:
            await ref.ask(message, timeout=60)
        except ActorCrashed as error:
            errors.append(error)

    cause = ValueError("no good")
    async with running() as (_, cell, _, _):
        async with anyio.create_task_group() as group:
            for message in ("a", "b", cause):
                group.start_soon(ask, cell.ref, message)
        assert len(set(map(id, errors))) == 3
        assert {(error.actor, error.cause) for error in errors} == {("till", cause)}
        assert len({len(traceback.extract_tb(error.__traceback__)) for error in errors}) == 1


async def test_a_stop_lets_what_waits_be_handled_and_takes_in_no_more():
    async with running() as (supervisor, _, _, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b")
        await idle()
        async with anyio.create_task_group() as group:
            group.start_soon(supervisor.stop, "till", "the shop closes")
            await idle()
            asks.begin("c")
        await idle()
        assert asks.ends == {"a": ("a", 1), "b": ("b", 2), "c": (ActorStopped, 0.5)}


async def test_a_full_mailbox_refuses_a_group_and_no_more_than_that():
    async with running(capacity=1) as (_, _, _, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b")
        await idle()
        asks.begin("c", timeout=5)  # it cannot join the one that waits: their deadlines differ
        await anyio.sleep(3)
        assert asks.ends == {"a": ("a", 1), "b": ("b", 2), "c": (MailboxFull, 0.5)}


async def test_an_ask_does_not_overtake_what_was_told_before():
    async with running() as (_, cell, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b")
        await idle()
        cell.ref.tell("c")
        asks.begin("d")
        await anyio.sleep(3)
        assert seen == [["a"], ["b", "c", "d"]]


async def test_several_at_once_of_many_askers_travel_together():
    async with running(capacity=2 * MANY) as (_, cell, seen, _):
        answers = {}

        async def ask_two(number):
            answers[number] = await cell.ref.ask_all([number, -number], timeout=60)

        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(ask_two, number)
        assert answers == {number: [number, -number] for number in range(MANY)}
        handled = [message for batch in seen for message in batch]
        assert [-message for message in handled[1::2]] == handled[::2]
        # On trio nothing is gathered.
        assert cell.mailbox.taken_in == (2 * MANY if tasks.on_trio() else 5)


async def test_several_at_once_that_are_given_up_are_not_handled():
    async with running() as (_, cell, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        with anyio.move_on_after(0.2):
            await cell.ref.ask_all(["b", "c"], timeout=60)
        answers = await cell.ref.ask_all(["d", "no"], timeout=60)
        assert (answers[0], type(answers[1])) == ("d", Reject)
        assert seen == [["a"], ["d", "no"]]


async def test_an_ask_does_not_overtake_several_that_were_sent_at_once():
    async with running() as (_, cell, seen, asks):
        asks.begin("a")
        await anyio.sleep(0.5)
        asks.begin("b")
        await idle()
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: cell.ref.ask_all(["c", "no"], timeout=60))
            await idle()
            asks.begin("d")
        await anyio.sleep(1)
        assert seen == [["a"], ["b", "c", "no", "d"]]
