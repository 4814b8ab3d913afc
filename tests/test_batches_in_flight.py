"""An actor that handles several batches at once."""

import anyio
import pytest

from botvisor.actor import BatchActor
from botvisor.envelope import Fate
from botvisor.errors import ActorCrashed

from .actor_rig import Diary, idle, running

pytestmark = pytest.mark.virtual_time


class Two(Diary, BatchActor):
    """Sleeps for the longest of a batch, and raises the errors in it after that."""

    batch_least = batch_limit = 2
    in_flight = 2

    async def handle_batch(self, messages):
        self.entries.append(list(messages))
        await anyio.sleep(max((m for m in messages if isinstance(m, float)), default=1.0))
        for message in messages:
            if isinstance(message, Exception):
                raise message
        self.entries.append(f"done {messages[0]}")
        return list(messages)


async def test_a_second_batch_is_handled_while_the_first_is_and_a_third_waits():
    async with running(Two) as (_, cell, entries):
        for message in (9.0, "b", 2.0, "d", "e"):
            cell.ref.tell(message)
        await anyio.sleep(1)
        assert entries == ["start 1", [9.0, "b"], [2.0, "d"]]
        await anyio.sleep(2.5)
        assert entries[3:] == ["done 2.0", ["e"], "done e"]
        await anyio.sleep(6)
        assert entries[-1] == "done 9.0"


async def test_what_comes_while_a_batch_is_handled_need_not_wait_for_it():
    async with running(Two) as (_, cell, _entries), anyio.create_task_group() as group:
        group.start_soon(lambda: cell.ref.ask(9.0, timeout=20))
        await anyio.sleep(1)
        began = anyio.current_time()
        assert await cell.ref.ask("quick", timeout=20) == "quick"
        assert anyio.current_time() - began == pytest.approx(1.0)


async def test_a_crash_under_one_batch_hands_the_other_to_the_next_incarnation():
    async with running(Two) as (supervisor, cell, _entries), anyio.create_task_group() as group:
        answers = []

        async def ask(message):
            try:
                answers.append(await cell.ref.ask(message, timeout=30))
            except ActorCrashed as error:
                answers.append(error)

        group.start_soon(ask, 5.0)
        await anyio.sleep(1)
        group.start_soon(ask, ValueError("no"))
        await anyio.sleep(10)
        crash, kept = answers
        assert "ValueError: no" in str(crash)
        assert kept == 5.0
        assert cell.mailbox.fates == {Fate.CRASHED: 1, Fate.REDELIVERED: 1}
        assert supervisor.ledger.entries()[0].message == "ValueError"


async def test_a_restart_under_two_batches_keeps_their_order():
    async with running(Two) as (supervisor, cell, entries):
        for message in (9.0, "b", 8.0, "d", "e"):
            cell.ref.tell(message)
        await anyio.sleep(1)
        supervisor.restart("subject")
        await anyio.sleep(2)
        assert entries[3:] == ["start 2", [9.0, "b"], [8.0, "d"]]
        await anyio.sleep(20)
        assert cell.mailbox.fates == {Fate.REDELIVERED: 4, Fate.HANDLED: 1}


async def test_a_stop_waits_for_all_batches():
    async with running(Two) as (supervisor, cell, entries):
        for message in (3.0, "b", 5.0, "d", "e"):
            cell.ref.tell(message)
        await anyio.sleep(1)
        await supervisor.stop("subject", "enough")
        assert entries[3:-1] == ["done 3.0", ["e"], "done e", "done 5.0"]
        assert entries[-1] == "stop: enough"
        assert cell.mailbox.fates == {Fate.HANDLED: 5}


async def test_a_stop_of_an_idle_actor_needs_no_message():
    async with running(Two) as (supervisor, _cell, entries):
        await idle()
        await supervisor.stop("subject", "enough")
        assert entries == ["start 1", "stop: enough"]
