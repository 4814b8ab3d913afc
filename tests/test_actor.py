import asyncio

import anyio
import pytest

from botvisor.actor import Actor, BatchActor
from botvisor.cell import Fault
from botvisor.child import State
from botvisor.envelope import Fate
from botvisor.errors import ActorCrashed, ActorStopped, Reject, StartFailed, StartTimeout
from botvisor.restart import Policy
from botvisor.testing.clock import virtual_time

from .actor_rig import Diary, idle, running

pytestmark = pytest.mark.virtual_time

native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])


def cancel_natively(name):
    for task in asyncio.all_tasks():
        if task.get_name() == name:
            task.cancel()


async def test_an_actor_starts_handles_what_waits_and_stops():
    async with running() as (supervisor, cell, entries):
        for message in "abc":
            cell.ref.tell(message)
        await supervisor.stop("subject", "enough")
        assert entries == ["start 1", "a", "b", "c", "stop: enough"]


async def test_after_a_crash_a_fresh_instance_starts_and_the_old_one_is_not_stopped():
    instances = []

    class Born(Diary):
        def __init__(self):
            instances.append(self)

    async with running(Born) as (_, cell, entries):
        cell.ref.tell(ValueError("bad"))
        cell.ref.tell("next")
        await anyio.sleep(2)
        assert entries[0] == "start 1"
        assert entries[2:] == ["start 2", "next"]
        assert len(instances) == 2


async def test_a_message_of_an_unknown_type_is_a_crash_that_names_it():
    async with running(Actor) as (_, cell, _):
        with pytest.raises(ActorCrashed, match="Subject cannot handle dict"):
            await cell.ref.ask({}, timeout=1)


async def test_a_start_that_takes_too_long_is_cut_off():
    class Slow(Diary):
        async def start(self, ctx):
            await anyio.sleep(20)

    start = anyio.current_time()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(Slow, policy=Policy(start_timeout=3)):
            pass
    failure = caught.value.exceptions[0]
    assert isinstance(failure, StartFailed)
    assert isinstance(failure.cause, StartTimeout)
    assert str(failure) == "subject did not start: StartTimeout: subject had not started after 3 s"
    assert anyio.current_time() - start == pytest.approx(3)


async def test_a_time_out_inside_a_start_keeps_its_own_words():
    class Unlucky(Diary):
        async def start(self, ctx):
            raise TimeoutError("the server did not answer")

    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(Unlucky):
            pass
    assert "the server did not answer" in str(caught.value.exceptions[0])


async def test_a_message_whose_handling_an_operator_cut_off_comes_first_again():
    async with running() as (supervisor, cell, entries):
        cell.ref.tell(9.0)
        cell.ref.tell("next")
        await idle()
        supervisor.restart("subject")
        await anyio.sleep(20)
        assert entries == ["start 1", 9.0, "start 2", 9.0, "slept 9.0", "next"]
        assert cell.mailbox.fates == {Fate.REDELIVERED: 1, Fate.HANDLED: 1}


@native
async def test_a_message_whose_handling_was_cancelled_natively_comes_first_again():
    async with running() as (_, cell, entries):
        cell.ref.tell(9.0)
        cell.ref.tell("next")
        await idle()
        cancel_natively("subject")
        await anyio.sleep(20)
        assert entries == ["start 1", 9.0, "start 2", 9.0, "slept 9.0", "next"]
        assert cell.mailbox.fates == {Fate.REDELIVERED: 1, Fate.HANDLED: 1}


async def test_an_ask_is_answered_although_its_handling_was_cancelled_once():
    async with running() as (supervisor, cell, _), anyio.create_task_group() as group:
        group.start_soon(restart_after, supervisor, 1)
        assert await cell.ref.ask(9.0, timeout=30) == 9.0


async def restart_after(supervisor, delay_s):
    await anyio.sleep(delay_s)
    supervisor.restart("subject")


async def test_a_message_whose_handling_was_cancelled_twice_is_given_up():
    async with running() as (supervisor, cell, entries), anyio.create_task_group() as group:
        for delay_s in (1, 2):
            group.start_soon(restart_after, supervisor, delay_s)
        with pytest.raises(ActorCrashed):
            await cell.ref.ask(9.0, timeout=30)
        assert await cell.ref.ask("next", timeout=1) == "next"
        assert entries.count(9.0) == 2
        assert cell.mailbox.fates == {Fate.CRASHED: 1, Fate.HANDLED: 1}


async def test_a_batch_that_was_cancelled_keeps_its_order():
    class Batch(Diary, BatchActor):
        async def handle_batch(self, messages):
            self.entries.append(list(messages))
            await anyio.sleep(5)
            return list(messages)

    async with running(Batch) as (supervisor, cell, entries):
        for message in "abc":
            cell.ref.tell(message)
        await anyio.sleep(1)
        cell.ref.tell("d")
        supervisor.restart("subject")
        await anyio.sleep(11)
        assert entries == ["start 1", [*"abc"], "start 2", [*"abcd"]]
        assert cell.mailbox.fates == {Fate.REDELIVERED: 3, Fate.HANDLED: 1}


@native
@pytest.mark.parametrize("turns", range(6))
async def test_a_native_cancel_round_a_hand_off_loses_and_doubles_nothing(turns):
    async with running() as (_, cell, entries):
        await idle()
        cell.ref.tell("a")
        for _ in range(turns):
            await asyncio.sleep(0)
        cancel_natively("subject")
        cell.ref.tell("b")
        await anyio.sleep(2)
        assert [entry for entry in entries if not entry.startswith("start")] == ["a", "b"]


async def test_a_system_exit_in_a_handler_is_a_crash_like_others():
    async with running() as (supervisor, cell, entries):
        with pytest.raises(ActorCrashed):
            await cell.ref.ask(SystemExit(3), timeout=1)
        assert await cell.ref.ask("next", timeout=2) == "next"
        assert entries[2:] == ["start 2", "next"]
        assert [entry.error for entry in supervisor.ledger.entries()] == ["SystemExit: 3"]


async def test_after_64_messages_others_have_their_turn():
    async with running() as (_, cell, entries):
        for n in range(200):
            cell.ref.tell(n)
        turns = []
        for _ in range(6):
            await anyio.lowlevel.checkpoint()
            turns.append(len(entries) - 1)
        # Trio shuffles who comes first in a turn.
        assert max(after - before for before, after in zip([0, *turns], turns, strict=False)) <= 2 * 64


@pytest.mark.parametrize(("least", "batches"), [(512, ["abc", "de"]), (1, ["ab", "c", "d", "e"])])
async def test_an_actor_of_batches_takes_its_least_and_half_of_what_waits_up_to_its_limit(least, batches):
    class Batch(Diary, BatchActor):
        batch_least, batch_limit = least, 3

        async def handle_batch(self, messages):
            self.entries.append(list(messages))
            return list(messages)

    async with running(Batch) as (_, cell, entries):
        for message in "abcde":
            cell.ref.tell(message)
        await idle()
        assert entries == ["start 1", *map(list, batches)]


@pytest.mark.parametrize("answers", [[1], [1, 2, 3], None])
async def test_a_batch_without_an_answer_for_each_message_is_a_crash_of_them_all(answers):
    class Careless(BatchActor):
        async def handle_batch(self, messages):
            return answers

    async with running(Careless) as (_, cell, _):
        assert [type(a) for a in await cell.ref.ask_all("ab", timeout=1)] == [ActorCrashed] * 2
        assert cell.mailbox.fates == {Fate.CRASHED: 2}


async def test_a_batch_can_be_refused_as_a_whole():
    class Closed(BatchActor):
        async def handle_batch(self, messages):
            raise Reject("closed")

    async with running(Closed) as (supervisor, cell, _):
        assert [type(a) for a in await cell.ref.ask_all("ab", timeout=1)] == [Reject] * 2
        assert supervisor.state("subject") is State.RUNNING


@pytest.mark.parametrize("kind", [Actor, BatchActor])
async def test_a_fault_makes_any_actor_crash(kind):
    async with running(kind) as (supervisor, cell, _):
        with pytest.raises(ActorCrashed, match="ValueError: drill"):
            await cell.ref.ask(Fault(ValueError("drill")), timeout=1)
        await idle()
        assert supervisor.ledger.entries()[0].message == "Fault"


async def test_a_stuck_actors_message_is_a_dead_letter_and_no_more_than_that():
    release = anyio.Event()

    class Stuck(Diary):
        async def handle(self, message):
            with anyio.CancelScope(shield=True):
                await release.wait()
            return "late"

    async with running(Stuck) as (supervisor, cell, _), anyio.create_task_group() as group:

        async def ask():
            with pytest.raises(ActorStopped):
                await cell.ref.ask("hello", timeout=1000)
            release.set()

        group.start_soon(ask)
        await idle()
        await supervisor.stop("subject", "enough")
        assert supervisor.stuck
        await release.wait()
        await idle()
        assert not supervisor.stuck
        assert cell.mailbox.fates == {Fate.DEAD_LETTERED: 1}
