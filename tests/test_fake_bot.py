"""The testing kit's fake bot: `main` under the real runtime, without files or waiting."""

import anyio
import pytest

from botvisor import Policy, current_bot
from botvisor.testing import MemoryStore, crash, fake_bot

pytestmark = pytest.mark.virtual_time


async def collect(bot):
    return [message.text async for message in bot.inbox]


async def test_main_gets_what_is_sent():
    async with fake_bot(collect) as bot:
        receipt = await bot.send("hello", wait=5)
        assert receipt.state == "handled"
        await bot.stop()
        assert await bot.wait() == ["hello"]


async def test_what_main_raises_comes_out_bare():
    async def main(bot):
        raise LookupError("no key")

    async with fake_bot(main) as bot:
        with pytest.raises(LookupError, match="no key"):
            await bot.wait()


async def test_what_main_raised_comes_out_at_the_end_if_the_test_did_not_wait_for_it():
    async def main(bot):
        raise LookupError("no key")

    async def careless():
        async with fake_bot(main) as bot:
            await bot.handle.finished.wait()

    with pytest.raises(LookupError, match="no key"):
        await careless()


async def test_an_error_of_the_test_itself_comes_out_bare():
    error = AssertionError("wrong text")

    async def wrong():
        async with fake_bot(collect):
            raise error

    with pytest.raises(AssertionError) as caught:
        await wrong()
    assert caught.value is error


async def test_a_main_that_still_runs_at_the_end_costs_a_second():
    began = anyio.current_time()
    async with fake_bot(anyio.sleep_forever, grace=600):
        pass
    assert anyio.current_time() - began <= 2


async def test_bots_of_two_tests_have_two_ids_and_the_environment_counts_for_nothing(monkeypatch):
    monkeypatch.setenv("BOT_ID", "from-the-environment")
    monkeypatch.setenv("BOT_HEARTBEAT_INTERVAL_SECS", "soon")
    async with fake_bot(collect) as one, fake_bot(collect) as two:
        assert len({one.bot.id, two.bot.id, "from-the-environment"}) == 3


async def test_no_file_is_touched(monkeypatch):
    opened = []
    monkeypatch.setattr("os.open", lambda path, *_, **__: opened.append(path))
    async with fake_bot(collect) as bot:
        await bot.send("hello", wait=5)
    assert opened == []


async def test_waiting_for_a_main_that_goes_on_times_out():
    async with fake_bot(collect) as bot:
        with pytest.raises(TimeoutError):
            await bot.wait(timeout=3)


async def test_a_main_without_arguments_finds_its_bot():
    async def main():
        return current_bot().id

    async with fake_bot(main, bot_id="finder") as bot:
        assert await bot.wait() == "finder"


async def test_main_that_outlasts_its_grace_is_cancelled():
    async with fake_bot(lambda: anyio.sleep(10_000), grace=3) as bot:
        began = anyio.current_time()
        await bot.stop()
        assert bot.handle.outcome.cancelled
        assert 3 <= anyio.current_time() - began <= 10


async def test_the_heartbeat_tells_participants_and_restarts():
    async def main(bot):
        bot.participants.add("user1")
        await bot.wait_stopping()

    async with fake_bot(main) as bot:
        crash(bot.bot, "inbox")
        await anyio.sleep(20)
        heartbeat = await bot.heartbeat()
        assert heartbeat.participants == ("user1",)
        assert heartbeat.health["restarts"] == 1


async def test_a_store_that_fails_for_a_while_loses_nothing():
    async with fake_bot(collect) as bot:
        await bot.send("before")
        bot.store.fail_with(OSError("gone"))
        await anyio.sleep(30)
        bot.store.heal()
        await bot.send("after")
        await anyio.sleep(30)
        await bot.stop()
        assert await bot.wait() == ["before", "after"]


async def test_a_second_bot_on_the_store_finds_what_the_first_one_left():
    store = MemoryStore()

    async def fail(bot):
        async for message in bot.inbox:
            raise ValueError(message.text)

    async with fake_bot(fail, bot_id="one", store=store) as bot:
        await bot.send("hot potato")
        with pytest.raises(ValueError, match="hot potato"):
            await bot.wait()

    async def take(bot):
        return await anext(bot.inbox)

    async with fake_bot(take, bot_id="one", store=store) as bot:
        message = await bot.wait()
        assert (message.text, message.redelivered, message.tries) == ("hot potato", True, 2)


async def test_main_is_restarted_if_the_policy_says_so():
    starts = []

    async def main(bot):
        starts.append(bot.id)
        if len(starts) < 3:
            raise ConnectionError("not yet")
        return "third time"

    async with fake_bot(main, policy=Policy(restart="transient")) as bot:
        assert await bot.wait(timeout=60) == "third time"
