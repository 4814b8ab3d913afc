"""Starting an actor of one's own: what is refused, what fails, and what is left then."""

import anyio
import pytest

from botvisor import Actor, Policy
from botvisor.errors import ActorNameTaken, BotStopping, StartFailed
from botvisor.testing import fake_bot

from .custom_actor_rig import Add, Tally, idle, tally

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("name", ["", "a/b", "two words", "ä", "x" * 65, "line\n", None])
async def test_a_name_that_cannot_be_one_is_refused(name):
    async with fake_bot(idle) as fake:
        with pytest.raises(ValueError, match="an actor's name is 1 to 64 of the characters"):
            await fake.bot.start_actor(name, tally())


@pytest.mark.parametrize("name", ["identity", "heartbeat", "inbox", "main", "hooks", "backend", "mine"])
async def test_a_name_that_is_taken_is_refused(name):
    async with fake_bot(idle, bot_id="ada") as fake:
        ref = await fake.bot.start_actor("mine", tally())
        with pytest.raises(ActorNameTaken, match=f"there is an actor ada/{name}, .* another name"):
            await fake.bot.start_actor(name, tally())
        assert await ref.ask(Add(1), timeout=5) == 1


async def test_bots_may_use_the_same_names():
    async with fake_bot(idle) as fake:
        other = await fake.supervisor.start_bot(idle, bot_id="other")
        one = await fake.bot.start_actor("tally", tally())
        two = await other.bot.start_actor("tally", tally())
        assert (await one.ask(Add(1), timeout=5), await two.ask(Add(2), timeout=5)) == (1, 2)


@pytest.mark.parametrize("factory", [Tally({}), "Tally", None])
async def test_what_makes_no_fresh_actors_is_refused(factory):
    async with fake_bot(idle) as fake:
        with pytest.raises(TypeError, match="takes an actor's class, or a function that makes one"):
            await fake.bot.start_actor("tally", factory)


async def test_a_factory_that_makes_something_else_fails_the_start():
    async with fake_bot(idle, bot_id="ada") as fake:
        with pytest.raises(StartFailed, match="tally is to be an Actor, but its factory made 'text'"):
            await fake.bot.start_actor("tally", lambda: "text")


async def test_a_mailbox_without_room_is_refused():
    async with fake_bot(idle) as fake:
        with pytest.raises(ValueError, match="capacity is at least 1 message, not 0"):
            await fake.bot.start_actor("tally", tally(), capacity=0)


async def test_one_whose_first_start_fails_is_not_there_and_the_bot_goes_on():
    class Broken(Actor):
        async def start(self, ctx):
            raise OSError("no device")

    async with fake_bot(idle, bot_id="ada") as fake:
        with pytest.raises(StartFailed, match="ada/device did not start: OSError: no device"):
            await fake.bot.start_actor("device", Broken)
        assert "device" not in fake.bot.actors
        assert fake.bot.status == "healthy"
        await fake.bot.start_actor("device", tally())


async def test_a_start_that_takes_too_long_is_given_up():
    class Hanging(Actor):
        async def start(self, ctx):
            await anyio.sleep_forever()

    async with fake_bot(idle, bot_id="ada") as fake:
        with pytest.raises(StartFailed, match="had not started after 3 s"):
            await fake.bot.start_actor("device", Hanging, policy=Policy(start_timeout=3))


async def test_a_start_that_nobody_waits_for_any_more_leaves_nothing_behind():
    class Hanging(Actor):
        async def start(self, ctx):
            await anyio.sleep_forever()

    async with fake_bot(idle) as fake:
        with anyio.move_on_after(1):
            await fake.bot.start_actor("device", Hanging)
        await anyio.sleep(0.1)
        assert "device" not in fake.bot.actors
        await fake.bot.start_actor("device", tally())


async def test_a_bot_that_stops_starts_no_more():
    async def main(bot):
        await bot.wait_stopping()
        with pytest.raises(BotStopping, match="bot ada is stopping: it starts no more actors"):
            await bot.start_actor("tally", tally())
        return "refused"

    async with fake_bot(main, bot_id="ada") as fake:
        await fake.stop()
        assert await fake.wait() == "refused"


async def test_a_bot_that_stops_meanwhile_stops_one_that_still_starts():
    ended = []

    class Slow(Actor):
        async def start(self, ctx):
            try:
                await anyio.sleep_forever()
            finally:
                ended.append("slow")

    async def main(bot):
        async with anyio.create_task_group() as group:
            group.start_soon(bot.start_actor, "slow", Slow)
            await bot.wait_stopping()
            group.cancel_scope.cancel()

    async with fake_bot(main) as fake:
        await anyio.sleep(1)
        await fake.stop()
        assert ended == ["slow"]
