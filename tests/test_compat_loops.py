"""The guide's client over several event loops: one after the other, at once, and closed over it."""

import asyncio

import anyio
import pytest

from botvisor.compat.redis_client import get_redis_client
from botvisor.errors import QueueTaken, StoreUnavailable

from . import compat_rig, redis_server
from .processes import Scripts

servers = redis_server.servers
branch = compat_rig.branch
on_files = compat_rig.on_files

ROOM = "https://example.test/room"


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def texts(client):
    return [message["message"] for message in await client.get_admin_messages(99)]


def test_one_loop_after_the_other(on_files):
    async def send(number, *, close):
        client = await get_redis_client()
        await client.send_heartbeat(number, ROOM, [])
        if close:
            await client.close()
        return (await (await get_redis_client()).get_heartbeat(number))["pid"]

    for number in (1, 2, 3):
        assert asyncio.run(send(number, close=number == 2)) == number
        assert anyio.run(lambda number=number: send(number, close=number == 2), backend="trio") == number


def test_a_client_serves_no_other_loop(on_files):
    async def use(client):
        with pytest.raises(StoreUnavailable, match="another event loop"):
            await client.get_heartbeat(1)
        with pytest.raises(StoreUnavailable, match="another event loop"):
            await client.close()

    async def main():
        client = await get_redis_client()
        await anyio.to_thread.run_sync(lambda: asyncio.run(use(client)))
        assert await client.get_heartbeat(1) is None
        return client

    client = asyncio.run(main())
    with pytest.raises(StoreUnavailable):
        asyncio.run(client.get_heartbeat(1))
    asyncio.run(client.close())


@pytest.mark.parametrize("kind", ["asyncio", "trio"])
def test_the_next_call_may_come_in_another_loop(on_files, kind):
    async def call(*to_send):
        client = await get_redis_client()
        for text in to_send:
            await client.send_admin_message(99, text)
        return await texts(client)

    def run(*to_send):
        return anyio.run(call, *to_send, backend=kind)

    assert run("a", "b") == ["a", "b"]
    assert run("c") == ["c"]
    assert run() == []


async def test_two_loops_at_once_cannot_both_have_a_queue(branch):
    client = await get_redis_client()
    await client.get_admin_messages(99)

    async def other():
        return await texts(await get_redis_client())

    with pytest.raises(QueueTaken, match="another event loop of this process"):
        await anyio.to_thread.run_sync(lambda: asyncio.run(other()))
    await client.close()


CLOSES_ITS_LOOPS = """
from botvisor.compat.redis_client import get_redis_client

async def call(*texts):
    client = await get_redis_client()
    for text in texts:
        await client.send_admin_message(99, text)
    return [message["message"] for message in await client.get_admin_messages(99)]

for texts in (["a", "b"], ["c"], []):
    loop = asyncio.new_event_loop()
    print("got", loop.run_until_complete(call(*texts)))
    loop.close()
"""


async def test_the_next_call_may_come_when_the_loop_was_just_closed(branch):
    with Scripts(branch.folder) as scripts:
        program = scripts.start(CLOSES_ITS_LOOPS, **branch.variables())
        await anyio.to_thread.run_sync(program.ends)
        assert program.out == ["got ['a', 'b']", "got ['c']", "got []"], program.stderr
