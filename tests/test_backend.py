import itertools

import anyio
import pytest

from botvisor.actors.backend.actor import SWEEP_EVERY_S, BackendActor
from botvisor.actors.backend.retry import ATTEMPTS, DEADLINE_S, RetryingStore
from botvisor.cell import Cell
from botvisor.errors import LeaseLost, StoreUnavailable
from botvisor.logs import Log
from botvisor.restart import Policy
from botvisor.store import ListHeartbeats, PushMessage, ReadHeartbeat, ReadReceipt, Sweep
from botvisor.supervisor import Supervisor
from botvisor.testing import MemoryStore

from .bot_rig import Link, logged, own_queue

pytestmark = pytest.mark.virtual_time

LOG = Log("memory")
READ = ReadHeartbeat("bot")


class Scripted:
    """A store that answers the commands of each batch with the next results of its script, and notes when."""

    def __init__(self, *script):
        self.script = list(script)
        self.calls = []
        self.batches = []

    async def execute(self, commands):
        self.calls.append(anyio.current_time())
        self.batches.append(list(commands))
        results = self.script.pop(0)
        return [results] * len(commands) if not isinstance(results, list) else results


def away():
    return StoreUnavailable("no disk")


class TestTheBackend:
    async def serve(self, store, use):
        """Run `use` with the address of a backend over a store."""
        supervisor = Supervisor()
        async with anyio.create_task_group() as group:
            await group.start(supervisor.run)
            cell = Cell("backend", lambda: BackendActor(store, LOG), supervisor.timers)
            await supervisor.start(cell, Policy())
            try:
                await use(cell.ref, supervisor)
            finally:
                await supervisor.shutdown("the end of the test")

    async def test_carries_out_in_one_batch_what_came_while_two_others_were_in_flight(self):
        store, sizes = MemoryStore(), []
        link = Link(store)

        async def pass_on(moment, commands):
            sizes.extend([len(commands)] if moment == "asked" else [])
            await anyio.sleep(0.5)

        async def use(ref, _):
            link.pass_on = pass_on
            await anyio.sleep(1)
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(lambda: ref.ask(READ, timeout=5))
                    await anyio.sleep(0.01 * (number < 2))

        await self.serve(link, use)
        assert sizes[-3:] == [1, 1, 18]

    async def test_gives_each_caller_the_answer_to_his_own_command(self):
        store = MemoryStore()
        raw = b'{"id": "m1", "message": "hello"}'

        async def use(ref, _):
            answers = await ref.ask_all(
                [
                    PushMessage(own_queue(), "m1", raw),
                    ReadReceipt(own_queue(), "m1"),
                    ListHeartbeats(),
                    ReadReceipt(own_queue(), "m2"),
                ],
                timeout=5,
            )
            assert answers == ["memory", "stored", [], "unknown"]

        await self.serve(store, use)

    async def test_answers_what_is_no_command_with_an_error_and_serves_its_batch_mates(self):
        store = Scripted([0], ["one", "two"])

        async def use(ref, supervisor):
            await anyio.sleep(1)
            answers = await ref.ask_all([READ, "nonsense", READ], timeout=5)
            assert answers[::2] == ["one", "two"]
            assert isinstance(answers[1], TypeError)
            assert supervisor.ledger.restarts() == 0

        await self.serve(store, use)
        assert store.batches[1] == [READ, READ]

    async def test_hands_the_error_of_a_command_to_its_caller_alone(self):
        async def use(ref, supervisor):
            answers = await ref.ask_all([READ, ListHeartbeats()], timeout=5)
            assert isinstance(answers[0], LeaseLost)
            assert answers[1] == ["a heartbeat"]
            assert supervisor.ledger.restarts() == 0

        await self.serve(Scripted(0, [LeaseLost("q"), ["a heartbeat"]]), use)

    async def test_deletes_what_has_expired_at_its_start_and_every_hour(self):
        link = Link(MemoryStore())

        async def use(ref, _):
            await anyio.sleep(1)
            assert link.counts["Sweep"] == 1
            await anyio.sleep(10 * SWEEP_EVERY_S)
            assert link.counts["Sweep"] == 11

        await self.serve(link, use)

    @pytest.mark.parametrize(
        ("result", "told"),
        [
            (0, []),
            (3, ["INFO [memory-client] Deleted 3 expired files"]),
            (away(), ["WARNING [memory-client] Could not delete what has expired: no disk"]),
        ],
    )
    async def test_tells_what_became_of_a_sweep(self, result, told):
        async def use(ref, _):
            await anyio.sleep(1)

        with logged() as lines:
            await self.serve(Scripted(result), use)
        assert lines == told

    async def test_is_restarted_when_its_store_fails_against_its_contract_and_goes_on(self):
        class Broken(MemoryStore):
            broken = True

            async def execute(self, commands):
                if self.broken:
                    self.broken = False
                    raise ValueError
                return await super().execute(commands)

        async def use(ref, supervisor):
            await anyio.sleep(1)
            assert supervisor.ledger.restarts() == 1
            assert await ref.ask(READ, timeout=5) is None

        await self.serve(Broken(), use)


class TestARetry:
    async def test_is_not_made_when_the_store_answers(self):
        store = Scripted(["a", LeaseLost("q")])
        assert [str(a) for a in await RetryingStore(store, LOG).execute([READ, READ])] == [
            "a",
            "the lease of q is not ours",
        ]
        assert len(store.batches) == 1

    async def test_asks_again_for_what_failed_and_for_nothing_else(self):
        one, two, three = (ReadHeartbeat(name) for name in ("one", "two", "three"))
        store = Scripted([away(), "2", away()], ["1", away()], ["3"])
        assert await RetryingStore(store, LOG).execute([one, two, three]) == ["1", "2", "3"]
        assert store.batches == [[one, two, three], [one, three], [three]]

    async def test_is_given_up_after_the_third_attempt(self):
        store = Scripted(away(), away(), away(), "never")
        (answer,) = await RetryingStore(store, LOG).execute([READ])
        assert isinstance(answer, StoreUnavailable)
        assert len(store.batches) == ATTEMPTS

    @pytest.mark.parametrize("seed", range(20))
    async def test_waits_for_a_random_time_that_grows(self, seed):
        store = Scripted(away(), away(), away())
        await RetryingStore(store, LOG, seed=seed).execute([READ])
        first, second = (later - before for before, later in itertools.pairwise(store.calls))
        assert 0.05 <= first <= 0.2
        assert 0.05 <= second <= 0.5

    async def test_waits_as_its_seed_says(self):
        async def pauses(seed):
            store = Scripted(away(), away(), away())
            await RetryingStore(store, LOG, seed=seed).execute([READ])
            return [round(at - store.calls[0], 6) for at in store.calls]

        assert await pauses(1) == await pauses(1)
        assert await pauses(1) != await pauses(2)

    async def test_ends_at_the_deadline_of_the_batch(self):
        store = MemoryStore()
        store.hang()
        began = anyio.current_time()
        answers = await RetryingStore(store, LOG).execute([READ, READ])
        assert anyio.current_time() - began == pytest.approx(DEADLINE_S)
        assert [str(answer) for answer in answers] == ["no answer within 2 s"] * 2
        assert answers[0] is not answers[1]  # each is raised to a caller of its own

    async def test_that_the_deadline_cuts_short_keeps_the_answers_there_are(self):
        store = MemoryStore()

        class Hanging(Scripted):
            async def execute(self, commands):
                if len(self.script) == 1:
                    await anyio.sleep_forever()
                return await super().execute(commands)

        store = Hanging(["1", away()], [])
        one, two = await RetryingStore(store, LOG).execute([READ, READ])
        assert (one, str(two)) == ("1", "no disk")

    async def test_passes_a_cancellation_on(self):
        store = MemoryStore()
        store.hang()
        with anyio.move_on_after(1) as scope:
            await RetryingStore(store, LOG).execute([READ])
        assert scope.cancelled_caught

    async def test_is_told_when_an_outage_begins_and_not_for_each_batch_of_it(self):
        store = MemoryStore()
        retrying = RetryingStore(store, LOG)
        with logged() as lines:
            store.fail_with(away())
            await retrying.execute([READ])
            for _ in range(5):
                await retrying.execute([READ, Sweep()])
            store.heal()
            await retrying.execute([READ])
            await retrying.execute([Sweep()])
        assert lines == [
            *["WARNING [memory-client] Trying 1 command again: no disk"] * 2,
            *["WARNING [memory-client] Trying 2 commands again: no disk"] * 2,
            "INFO [memory-client] The store answers again",
        ]
