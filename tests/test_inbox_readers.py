"""Which tasks may read an inbox, and what becomes of a message when the task that took it ends."""

import asyncio

import anyio
import pytest

from botvisor.inbox import ConcurrentReader
from botvisor.testing import MemoryStore
from botvisor.testing.clock import virtual_time

from .bot_rig import bot_on, own_queue

pytestmark = pytest.mark.virtual_time

native = pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])


@native
async def test_the_store_is_told_at_once_when_the_task_that_took_a_message_ends():
    async def take_one(bot):
        await anext(bot.inbox)

    async def main(bot):
        await asyncio.create_task(take_one(bot))
        await anyio.sleep_forever()

    async with bot_on(MemoryStore(), main, grace=0) as rig:
        assert (await rig.client.send("bot", "hello", wait=1)).state == "handled"


@native
async def test_a_reader_that_fails_leaves_its_message_to_the_next():
    seen = []

    async def read(bot, *, fail):
        async for message in bot.inbox:
            seen.append((message.text, message.redelivered))
            if fail:
                raise ValueError

    async def main(bot):
        await asyncio.gather(asyncio.create_task(read(bot, fail=True)), return_exceptions=True)
        await read(bot, fail=False)

    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "hello", wait=5)
    assert seen == [("hello", False), ("hello", True)]


async def test_a_reader_that_is_cancelled_leaves_its_message_to_the_next():
    seen = []

    async def read(bot):
        async for message in bot.inbox:
            seen.append((message.text, message.redelivered))
            await anyio.sleep(5)

    async def main(bot):
        async with anyio.create_task_group() as group:
            group.start_soon(read, bot)
            await anyio.sleep(1)
            group.cancel_scope.cancel()
        await read(bot)

    async with bot_on(MemoryStore(), main) as rig:
        receipt = await rig.client.send("bot", "hello", wait=20)
    assert receipt.state == "handled"
    assert seen == [("hello", False), ("hello", True)]


async def test_what_a_failed_sub_task_holds_is_left_unhandled_by_main():
    async def read(bot):
        async for _ in bot.inbox:
            raise ValueError("in the sub-task")

    async def main(bot):
        async with anyio.create_task_group() as group:
            group.start_soon(read, bot)

    store = MemoryStore()
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", "hello")
        with pytest.raises(ValueError, match="in the sub-task"):
            await rig.handle.wait()
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]


@native
async def test_a_task_that_outlives_main_keeps_its_message():
    tasks = []

    async def read(bot):
        await anext(bot.inbox)
        await anyio.sleep(60)

    async def main(bot):
        tasks.append(asyncio.create_task(read(bot)))
        await anyio.sleep(1)

    store = MemoryStore()
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", "hello")
        await rig.handle.wait()
    tasks[0].cancel()
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]


@native
@pytest.mark.parametrize("fetch", [lambda call: asyncio.wait_for(call, 60), asyncio.create_task])
async def test_what_a_task_only_fetched_is_not_done_before_the_next_is_asked_for(fetch):
    async def main(bot):
        await fetch(bot.inbox.__anext__())
        await anyio.sleep(5)
        await fetch(bot.inbox.__anext__())

    async with bot_on(MemoryStore(), main, grace=0) as rig:
        receipt = await rig.client.send("bot", "hello")
        await anyio.sleep(4)
        assert (await rig.client.receipt(receipt)).state == "delivered"
        await anyio.sleep(4)
        assert (await rig.client.receipt(receipt)).state == "handled"


@native
async def test_what_a_task_only_fetched_is_not_done_when_main_fails():
    async def main(bot):
        await asyncio.create_task(anext(bot.inbox))
        raise ValueError

    store = MemoryStore()
    async with bot_on(store, main) as rig:
        await rig.client.send("bot", "hello")
        await rig.handle.finished.wait()
    assert [m.state for m in store.queue(own_queue()).messages()] == ["delivered"]


@native
async def test_the_task_that_holds_a_message_may_wait_for_the_next_with_a_time_limit():
    seen = []

    async def main(bot):
        async for message in bot.inbox:
            seen.append(message.text)
            seen.append((await asyncio.wait_for(anext(bot.inbox), 60)).text)
            return

    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "one")
        await rig.client.send("bot", "two")
        await rig.handle.wait()
    assert seen == ["one", "two"]


async def test_a_second_task_may_not_wait_for_messages():
    errors = []

    async def read(bot):
        try:
            await anext(bot.inbox)
        except ConcurrentReader as error:
            errors.append(str(error))

    async def main(bot):
        async with anyio.create_task_group() as group:
            group.start_soon(read, bot)
            group.start_soon(read, bot)

    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "hello")
        await rig.handle.wait()
    assert errors == ["another task reads this inbox already: let one task read, and hand the messages on"]


async def test_a_second_task_may_not_read_while_another_holds_a_message():
    async def read(bot):
        await anext(bot.inbox)

    async def main(bot):
        async for _ in bot.inbox:
            async with anyio.create_task_group() as group:
                group.start_soon(read, bot)

    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "hello")
        with pytest.raises(ConcurrentReader):
            await rig.handle.wait()
