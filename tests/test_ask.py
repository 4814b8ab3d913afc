from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor.actor import Actor, BatchActor
from botvisor.cell import Cell
from botvisor.child import State
from botvisor.envelope import Fate, Reply
from botvisor.errors import ActorCrashed, ActorStopped, AskTimeout, MailboxFull, Reject
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor

pytestmark = pytest.mark.virtual_time

ONE_SECOND = Policy(base=1, cap=1, jitter=0)


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


class Desk(Actor):
    """Does what its messages say, and notes them."""

    start_s = 0.0

    def __init__(self, seen):
        self.seen = seen

    async def start(self, ctx):
        if ctx.generation > 1:
            await anyio.sleep(self.start_s)

    async def handle(self, message):
        self.seen.append(message)
        match message:
            case Exception():
                raise message
            case float():
                await anyio.sleep(message)
        return message


class Counter(BatchActor):
    """Answers with its batch's size, refuses what begins with "no", and notes its batches."""

    def __init__(self, seen):
        self.seen = seen

    async def handle_batch(self, messages):
        self.seen.append(list(messages))
        await anyio.sleep(1)
        return [Reject(m) if str(m).startswith("no") else len(messages) for m in messages]


@asynccontextmanager
async def running(kind=Desk, *, policy=ONE_SECOND, capacity=100):
    supervisor, seen = Supervisor(), []
    cell = Cell("desk", lambda: kind(seen), supervisor.timers, capacity=capacity)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            await supervisor.start(cell, policy)
            yield supervisor, cell.ref, cell.mailbox, seen
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the test is over")
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in


class Asks:
    """Asks in the background; how and when each ended."""

    def __init__(self, group):
        self.group = group
        self.start = anyio.current_time()
        self.ends = {}

    async def begin(self, ref, message, timeout):
        self.group.start_soon(self._ask, ref, message, timeout)
        await idle()

    async def _ask(self, ref, message, timeout):
        try:
            end = await ref.ask(message, timeout=timeout)
        except Exception as error:
            end = type(error)
        assert message not in self.ends
        self.ends[message] = (end, round(anyio.current_time() - self.start, 3))


async def test_an_ask_returns_the_handlers_value():
    async with running() as (_, ref, mailbox, _):
        assert await ref.ask("hello", timeout=1) == "hello"
        assert mailbox.fates == {Fate.HANDLED: 1}


async def test_a_rejection_reaches_the_asker_and_the_actor_lives_on():
    async with running() as (supervisor, ref, mailbox, _):
        no = Reject("not today")
        with pytest.raises(Reject) as caught:
            await ref.ask(no, timeout=1)
        assert caught.value is no
        assert await ref.ask("hello", timeout=1) == "hello"
        assert mailbox.fates == {Fate.REJECTED: 1, Fate.HANDLED: 1}
        assert not supervisor.ledger.entries()


async def test_a_crash_is_told_to_the_asker_of_the_handled_message_alone():
    async with running() as (_, ref, mailbox, _), anyio.create_task_group() as group:
        asks, bad = Asks(group), ValueError("bad")
        await asks.begin(ref, 0.5, 9)
        await asks.begin(ref, bad, 9)
        await asks.begin(ref, "queued", 9)
        await anyio.sleep(3)
        assert asks.ends == {0.5: (0.5, 0.5), bad: (ActorCrashed, 0.5), "queued": ("queued", 1.5)}
        assert mailbox.fates == {Fate.HANDLED: 2, Fate.CRASHED: 1}


async def test_a_crash_carries_its_cause():
    async with running() as (_, ref, _, _):
        with pytest.raises(ActorCrashed, match="ValueError: bad") as caught:
            await ref.ask(ValueError("bad"), timeout=1)
        assert isinstance(caught.value.cause, ValueError)


async def test_an_ask_times_out_while_its_message_is_handled():
    async with running() as (_, ref, _, _):
        start = anyio.current_time()
        with pytest.raises(AskTimeout, match="desk gave no answer within 2 s"):
            await ref.ask(60.0, timeout=2)
        assert anyio.current_time() - start == pytest.approx(2)


async def test_queued_asks_outlive_a_restart_until_their_own_deadlines():
    policy = Policy(base=10, cap=10, jitter=0, intensity=2)
    async with running(policy=policy) as (_, ref, _, seen), anyio.create_task_group() as group:
        ref.tell(ValueError("bad"))
        asks = Asks(group)
        await asks.begin(ref, "patient", 30)
        await asks.begin(ref, "hasty", 3)
        await anyio.sleep(40)
        assert asks.ends == {"hasty": (AskTimeout, 3), "patient": ("patient", 10)}
        assert "hasty" not in seen


async def test_an_ask_times_out_while_the_actor_starts():
    class SlowDesk(Desk):
        start_s = 5.0

    async with running(SlowDesk) as (supervisor, ref, _, _), anyio.create_task_group() as group:
        ref.tell(ValueError("bad"))
        await anyio.sleep(2)
        assert supervisor.state("desk") is State.STARTING
        asks = Asks(group)
        await asks.begin(ref, "hasty", 1)
        await asks.begin(ref, "patient", 9)
        await anyio.sleep(9)
        assert asks.ends == {"hasty": (AskTimeout, 1), "patient": ("patient", 4)}


async def test_a_parked_actor_ends_queued_and_new_asks_at_once():
    policy = Policy(intensity=0, probe_after=100)
    async with running(policy=policy) as (supervisor, ref, mailbox, _), anyio.create_task_group() as group:
        asks, bad = Asks(group), ValueError("bad")
        await asks.begin(ref, 0.5, 99)
        await asks.begin(ref, bad, 99)
        await asks.begin(ref, "queued", 99)
        await anyio.sleep(1)
        assert supervisor.state("desk") is State.PARKED
        await asks.begin(ref, "new", 99)
        with pytest.raises(ActorStopped):
            ref.tell("told")
        assert asks.ends["queued"] == (ActorStopped, 0.5)
        assert asks.ends["new"] == (ActorStopped, 1)
        assert mailbox.fates[Fate.DEAD_LETTERED] == 1


async def test_a_parked_actor_answers_again_after_a_good_probe():
    async with running(policy=Policy(intensity=0, probe_after=100)) as (_, ref, _, _):
        ref.tell(ValueError("bad"))
        await anyio.sleep(99.9)
        with pytest.raises(ActorStopped):
            await ref.ask("too early", timeout=1)
        await anyio.sleep(0.2)
        assert await ref.ask("hello", timeout=1) == "hello"


async def test_a_stopped_actor_refuses_asks_at_once():
    async with running() as (supervisor, ref, _, _):
        await supervisor.stop("desk", "no reason")
        with pytest.raises(ActorStopped):
            await ref.ask("hello", timeout=1)


async def test_a_stopping_actor_answers_what_waits_and_refuses_what_is_new():
    async with running() as (supervisor, ref, _, _), anyio.create_task_group() as group:
        asks = Asks(group)
        await asks.begin(ref, 0.5, 9)
        await asks.begin(ref, "queued", 9)
        group.start_soon(supervisor.stop, "desk", "no reason")
        await idle()
        await asks.begin(ref, "new", 9)
        await anyio.sleep(1)
        assert asks.ends == {"new": (ActorStopped, 0), 0.5: (0.5, 0.5), "queued": ("queued", 0.5)}


async def test_an_ask_that_a_stop_cuts_off_ends_as_stopped():
    async with running() as (supervisor, ref, mailbox, _), anyio.create_task_group() as group:
        asks = Asks(group)
        await asks.begin(ref, 60.0, 99)
        await asks.begin(ref, "queued", 99)
        await supervisor.stop("desk", "no reason", within_s=2)
        await idle()
        assert asks.ends == {60.0: (ActorStopped, 2), "queued": (ActorStopped, 2)}
        assert mailbox.fates == {Fate.DEAD_LETTERED: 2}


async def test_a_full_mailbox_refuses_the_ask():
    async with running(capacity=1) as (_, ref, _, _):
        ref.tell(1.0)
        await idle()
        ref.tell("waits")
        with pytest.raises(MailboxFull):
            await ref.ask("hello", timeout=1)


async def test_what_nobody_waits_for_any_more_is_not_done():
    async with running() as (_, ref, mailbox, seen):
        ref.tell(5.0)
        with anyio.move_on_after(1):
            await ref.ask("cancelled", timeout=99)
        with pytest.raises(AskTimeout):
            await ref.ask("overdue", timeout=1)
        assert await ref.ask("wanted", timeout=99) == "wanted"
        assert seen == [5.0, "wanted"]
        assert mailbox.fates == {Fate.HANDLED: 2, Fate.DEAD_LETTERED: 2}


async def test_a_message_whose_asker_is_cancelled_meanwhile_is_handled_to_its_end():
    async with running() as (_, ref, mailbox, _):
        with anyio.move_on_after(1):
            await ref.ask(5.0, timeout=99)
        assert await ref.ask("next", timeout=99) == "next"
        assert mailbox.fates == {Fate.HANDLED: 2}


async def test_a_reply_ends_once():
    reply = Reply("desk", 1)
    assert reply.succeed("first")
    assert not reply.succeed("second")
    assert not reply.fail(ValueError())
    assert not reply.expire()
    assert await reply.wait() == "first"


async def test_ask_all_reaches_an_actor_of_batches_as_one_batch():
    async with running(Counter) as (_, ref, _, seen):
        assert await ref.ask_all(["a", "b", "c"], timeout=9) == [3, 3, 3]
        assert seen == [["a", "b", "c"]]


async def test_ask_all_returns_errors_in_the_places_of_their_messages():
    async with running(Counter, capacity=3) as (_, ref, mailbox, _):
        answers = await ref.ask_all(["a", "no", "b", "c"], timeout=9)
        assert [type(answer) for answer in answers] == [int, Reject, int, MailboxFull]
        assert mailbox.fates == {Fate.HANDLED: 2, Fate.REJECTED: 1}


async def test_ask_all_has_one_deadline_for_all():
    async with running() as (_, ref, _, _):
        start = anyio.current_time()
        answers = await ref.ask_all([1.0, 1.5, 9.0, "x"], timeout=3)
        assert [type(answer) for answer in answers] == [float, float, AskTimeout, AskTimeout]
        assert anyio.current_time() - start == pytest.approx(3)


async def test_a_cancelled_ask_all_leaves_nothing_to_be_done():
    async with running() as (_, ref, _, seen):
        with anyio.move_on_after(1):
            await ref.ask_all([2.0, "a", "b"], timeout=9)
        assert await ref.ask("next", timeout=9) == "next"
        assert seen == [2.0, "next"]


async def test_ask_all_of_a_stopped_actor_returns_its_refusals():
    async with running() as (supervisor, ref, _, _):
        await supervisor.stop("desk", "no reason")
        assert [type(answer) for answer in await ref.ask_all("ab", timeout=1)] == [ActorStopped] * 2
