"""What a bot leaves to its successor, and what it does not."""

import anyio
import pytest

from botvisor import Policy
from botvisor.testing import MemoryStore, crash, fake_bot

pytestmark = pytest.mark.virtual_time

SLOW = Policy(base=20, cap=20, period=300)


async def idle(bot):
    await bot.wait_stopping()


async def collect(bot):
    return [(message.text, message.redelivered) async for message in bot.inbox]


async def test_a_stop_that_was_meant_for_an_earlier_bot_does_not_stop_its_successor():
    async with fake_bot(idle, bot_id="one") as bot:
        await bot.client.control("one", "stop", instance="an earlier start")
        await anyio.sleep(30)
        assert not bot.handle.stopping
        await bot.client.control("one", "stop")
        await bot.wait(timeout=30)


async def test_what_was_handled_is_told_although_the_inbox_is_between_two_incarnations():
    store = MemoryStore()

    async def main(bot):
        async for _ in bot.inbox:
            crash(bot, "inbox")
            await anyio.sleep(1)
            return

    async with fake_bot(main, bot_id="one", store=store, policy=SLOW) as bot:
        await bot.send("hello")
        await bot.wait()
    async with fake_bot(collect, bot_id="one", store=store) as bot:
        await anyio.sleep(30)
        await bot.stop()
        assert await bot.wait() == []


async def test_what_was_claimed_and_not_shown_goes_back_although_the_inbox_is_between_two_incarnations():
    store = MemoryStore()

    async def main(bot):
        await anyio.sleep(5)
        crash(bot, "inbox")
        await anyio.sleep(1)

    async with fake_bot(main, bot_id="one", store=store, policy=SLOW) as bot:
        await bot.send("hello")
        await bot.wait()
    async with fake_bot(collect, bot_id="one", store=store) as bot:
        await anyio.sleep(30)
        await bot.stop()
        assert await bot.wait() == [("hello", False)]


async def test_a_task_for_each_message_has_handled_it_when_it_ends():
    seen = []

    async def one(bot):
        message = await anext(bot.inbox)
        seen.append((message.text, message.tries))

    async def main(bot):
        for _ in range(3):
            async with anyio.create_task_group() as group:
                group.start_soon(one, bot)

    async with fake_bot(main) as bot:
        for text in "abc":
            await bot.send(text)
        await bot.wait()
    assert seen == [("a", 1), ("b", 1), ("c", 1)]
