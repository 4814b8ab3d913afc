"""Actors of a bot's author: supervised, seen and stopped as the bot's own ones are."""

from functools import partial

import anyio
import pytest

from botvisor import Actor, ActorCrashed, ActorStopped, Policy, Reject, current_bot
from botvisor.testing import crash, fake_bot

from .bot_rig import logged
from .custom_actor_rig import Add, idle, tally

pytestmark = pytest.mark.virtual_time


class Witness(Actor):
    """Writes down what happens to it."""

    def __init__(self, seen, name="witness"):
        self.seen = seen
        self.name = name

    async def start(self, ctx):
        self.seen.append(("start", self.name, ctx.generation))

    async def handle(self, message):
        self.seen.append(("handled", message))

    async def stop(self, reason):
        self.seen.append(("stop", self.name, reason))


async def test_main_asks_its_actor_and_tells_it():
    async def main(bot):
        ref = await bot.start_actor("tally", tally())
        ref.tell(Add(1))
        with pytest.raises(Reject, match="only grows"):
            await ref.ask(Add(-1), timeout=5)
        return await ref.ask(Add(2), timeout=5)

    async with fake_bot(main) as bot:
        assert await bot.wait() == 3


async def test_one_that_fails_is_restarted_under_its_address_and_what_it_shares_is_kept():
    async def main(bot):
        kept = {}
        ref = await bot.start_actor("tally", tally(kept))
        assert await ref.ask(Add(1), timeout=5) == 1
        with pytest.raises(ActorCrashed, match="ZeroDivisionError"):
            await ref.ask(Add(0), timeout=5)
        return await ref.ask(Add(2), timeout=5)

    async with fake_bot(main) as bot:
        assert await bot.wait() == 3


async def test_its_failures_are_in_the_heartbeats_ledger_and_its_rest_makes_the_bot_degraded():
    async with fake_bot(idle, bot_id="ada") as fake:
        ref = await fake.bot.start_actor("tally", tally(), policy=Policy(base=1, jitter=0))
        ref.tell(Add(0))
        await anyio.sleep(0.5)
        beat = fake.handle.vitals.beat()
        assert (beat.status, beat.health["resting"], beat.health["actors"]) == (
            "degraded", ["ada/tally"], ["tally"],
        )  # fmt: skip
        entry = beat.health["ledger"][-1]
        assert (entry["actor"], entry["message"], beat.health["restarts"]) == ("ada/tally", "Add", 1)
        assert "ZeroDivisionError" in entry["error"]
        await anyio.sleep(1)
        beat = fake.handle.vitals.beat()
        assert (beat.status, beat.health["resting"]) == ("healthy", [])


async def test_the_heartbeat_names_them_at_once():
    async with fake_bot(idle) as fake:
        assert "actors" not in (await fake.heartbeat()).health
        for name in ("second", "first"):
            await fake.bot.start_actor(name, tally())
        await anyio.sleep(0.1)
        assert (await fake.heartbeat()).health["actors"] == ["second", "first"]
        await fake.bot.stop_actor("second")
        await anyio.sleep(0.1)
        assert (await fake.heartbeat()).health["actors"] == ["first"]


async def test_what_waits_for_it_is_in_the_heartbeat():
    class Slow(Actor):
        async def handle(self, message):
            await anyio.sleep(60)

    async with fake_bot(idle) as fake:
        ref = await fake.bot.start_actor("slow", Slow)
        for _ in range(4):
            ref.tell(Add(1))
        await anyio.sleep(1)
        assert fake.handle.vitals.beat().health["mailboxes"] == {"slow": 3}


async def test_one_that_keeps_failing_is_parked_and_tried_again_later():
    async with fake_bot(idle) as fake:
        policy = Policy(intensity=2, probe_after=30)
        ref = await fake.bot.start_actor("tally", tally(), policy=policy)
        for _ in range(3):
            ref.tell(Add(0))
            await anyio.sleep(1)
        with pytest.raises(ActorStopped):
            await ref.ask(Add(1), timeout=5)
        assert fake.bot.status == "degraded"
        await anyio.sleep(30)
        assert await ref.ask(Add(1), timeout=5) == 1
        assert fake.bot.status == "healthy"


async def test_one_that_the_bot_cannot_be_without_stops_it():
    async with fake_bot(idle) as fake:
        ref = await fake.bot.start_actor("tally", tally(), policy=Policy(intensity=0, on_exhausted="stop"))
        ref.tell(Add(0))
        with pytest.raises(ZeroDivisionError):
            await fake.wait()
        assert fake.handle.outcome.reason == f"{fake.bot.id}/tally used up its restarts"


async def test_a_temporary_one_ends_with_its_first_failure_which_is_logged_and_its_name_is_free():
    async with fake_bot(idle) as fake:
        with logged() as lines:
            policy = Policy(restart="temporary")
            ref = await fake.bot.start_actor("tally", tally(), policy=policy)
            ref.tell(Add(0))
            await anyio.sleep(1)
            with pytest.raises(ActorStopped):
                ref.tell(Add(1))
            assert "tally" not in fake.bot.actors
            assert fake.bot.status == "healthy"
            await fake.bot.start_actor("tally", tally(), policy=policy)
        [line] = [line for line in lines if "/tally failed" in line]
        assert line.startswith("ERROR")
        assert line.endswith("it is not restarted, as its policy says")


async def test_a_policy_for_main_is_not_meant_for_its_actors():
    async with fake_bot(idle, policy=Policy(restart="temporary")) as fake:
        ref = await fake.bot.start_actor("tally", tally())
        ref.tell(Add(0))
        assert await ref.ask(Add(1), timeout=5) == 1


async def test_they_stop_after_main_and_before_the_bots_own_the_last_started_first():
    seen = []

    class Writing(Witness):
        async def stop(self, reason):
            await super().stop(reason)
            await current_bot().identities.write("user1", {"name": "John"})  # the backend serves them yet
            seen.append(("written", current_bot().actors["inbox"].name))

    async def main(bot):
        await bot.start_actor("first", partial(Writing, seen, "first"))
        second = await bot.start_actor("second", partial(Witness, seen, "second"))
        await bot.wait_stopping()
        second.tell("goodbye")  # what waits is handled yet
        seen.append("main ends")

    async with fake_bot(main, bot_id="ada") as fake:
        await anyio.sleep(1)
        await fake.stop()
        assert seen == [
            ("start", "first", 1),
            ("start", "second", 1),
            "main ends",
            ("handled", "goodbye"),
            ("stop", "second", "the test stops it"),
            ("stop", "first", "the test stops it"),
            ("written", "ada/inbox"),
        ]


async def test_one_can_be_stopped_and_its_name_used_again():
    seen = []
    async with fake_bot(idle) as fake:
        ref = await fake.bot.start_actor("guest", partial(Witness, seen))
        ref.tell("hello")
        await fake.bot.stop_actor("guest", "they left")
        assert seen == [("start", "witness", 1), ("handled", "hello"), ("stop", "witness", "they left")]
        with pytest.raises(ActorStopped):
            ref.tell("too late")
        await fake.bot.stop_actor("guest")  # it has ended already
        await fake.bot.start_actor("guest", partial(Witness, seen))
        with pytest.raises(ValueError, match="a bot needs its inbox"):
            await fake.bot.stop_actor("inbox")


async def test_an_operator_restarts_one():
    seen = []
    async with fake_bot(idle) as fake:
        await fake.bot.start_actor("witness", partial(Witness, seen))
        await fake.client.control(fake.bot.id, "restart", actor="witness")
        await anyio.sleep(1)
        assert seen == [("start", "witness", 1), ("start", "witness", 2)]


async def test_a_test_crashes_one():
    seen = []
    async with fake_bot(idle) as fake:
        await fake.bot.start_actor("witness", partial(Witness, seen))
        crash(fake.bot, "witness")
        await anyio.sleep(1)
        assert seen[-1] == ("start", "witness", 2)


async def test_inside_of_one_the_current_bot_is_its_own_after_a_restart_too():
    class Curious(Actor):
        async def handle(self, message):
            return current_bot().id

    async with fake_bot(idle, bot_id="ada") as fake:
        ref = await fake.bot.start_actor("curious", Curious)
        assert await ref.ask("who?", timeout=5) == "ada"
        crash(fake.bot, "curious")
        assert await ref.ask("who?", timeout=5) == "ada"
