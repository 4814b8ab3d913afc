"""The proxy of the testing kit: what it does to the bytes between a client and a server."""

import contextlib
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute

from botvisor.testing import open_proxy

from .redis_server import free_port

SOON_S = 0.2


@asynccontextmanager
async def upper(taken=None):
    """A server that answers in capitals; what it is asked goes to a list."""

    async def answer(client):
        async with client:
            with contextlib.suppress(anyio.BrokenResourceError):  # who hung up reads no answer
                await answer_all(client)

    async def answer_all(client):
        async for chunk in client:
            if taken is not None:
                taken.append(chunk)
            await client.send(chunk.upper())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield listener.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()


@asynccontextmanager
async def between(taken=None):
    """A proxy before such a server, and how to connect to it."""
    async with upper(taken) as port, open_proxy(port) as proxy:
        yield proxy, lambda: anyio.connect_tcp(proxy.host, proxy.port)


async def ask(client, request):
    await client.send(request)
    with anyio.fail_after(5):
        answer = b""
        while len(answer) < len(request):
            answer += await client.receive()
    return answer


async def is_silent(client):
    with anyio.move_on_after(SOON_S) as scope:
        await client.receive()
    return scope.cancelled_caught


async def is_reset(client):
    """Whether the connection ends with an error rather than in peace."""
    with anyio.fail_after(5):
        try:
            await client.receive()
        except anyio.BrokenResourceError as error:
            # On asyncio anyio does not tell the cause before its version 4.13.
            return isinstance(error.__cause__, (ConnectionResetError, type(None)))
        except anyio.EndOfStream:
            return False


async def test_it_passes_everything_on():
    async with between() as (proxy, connect), await connect() as one, await connect() as two:
        large = b"x" * 3_000_000
        async with anyio.create_task_group() as group:
            group.start_soon(ask, two, large)
            assert await ask(one, b"hello") == b"HELLO"
        assert (proxy.mode, proxy.connections, proxy.accepted) == ("pass", 2, 2)


async def test_replies_are_delayed_and_the_next_mode_ends_the_wait():
    async with between() as (proxy, connect), await connect() as client:
        proxy.delay(0.3)
        began = anyio.current_time()
        assert await ask(client, b"slow") == b"SLOW"
        assert anyio.current_time() - began > 0.29
        proxy.delay(60)
        await client.send(b"hurry")
        assert await is_silent(client)
        proxy.pass_on()
        assert await client.receive() == b"HURRY"


async def test_replies_trickle_byte_by_byte():
    async with between() as (proxy, connect), await connect() as client:
        proxy.trickle(0.05)
        await client.send(b"drops")
        assert [await client.receive(), await client.receive()] == [b"D", b"R"]
        proxy.pass_on()
        assert await client.receive() == b"OPS"


async def test_a_black_hole_takes_what_comes_and_gives_it_back_in_the_end():
    taken = []
    async with between(taken) as (proxy, connect), await connect() as client:
        proxy.blackhole()
        await client.send(b"held")
        assert await is_silent(client)
        async with await connect() as new:
            await new.send(b"new")
            assert await is_silent(new)
        await client.aclose()
        assert taken == []
        proxy.pass_on()
        with anyio.fail_after(5):
            while len(taken) < 2 or proxy.connections:
                await anyio.sleep(0.01)
        assert sorted(taken) == [b"held", b"new"]


async def test_stranded_connections_are_silent_while_new_ones_work():
    async with between() as (proxy, connect), await connect() as old:
        assert await ask(old, b"up") == b"UP"
        proxy.strand()
        await old.send(b"held")
        async with await connect() as new:
            assert await ask(new, b"new") == b"NEW"
        assert await is_silent(old)
        proxy.pass_on()
        assert await old.receive() == b"HELD"


async def test_an_address_that_is_moved_leads_new_connections_to_another_server():
    here, there = [], []
    async with upper(there) as port, between(here) as (proxy, connect), await connect() as old:
        await ask(old, b"one")
        proxy.lead_to(port)
        async with await connect() as new:
            await ask(new, b"two")
        await ask(old, b"three")
    assert (here, there) == ([b"one", b"three"], [b"two"])


async def test_a_reset_is_one_and_happens_once():
    async with between() as (proxy, connect):
        async with await connect() as client:
            assert await ask(client, b"up") == b"UP"
            proxy.reset()
            assert await is_reset(client)
        async with await connect() as client:
            assert await ask(client, b"up") == b"UP"


async def test_whoever_comes_is_turned_away_until_it_passes_on_again():
    async with between() as (proxy, connect):
        proxy.refuse()
        for _ in range(3):
            async with await connect() as client:
                assert await is_reset(client)
        proxy.pass_on()
        async with await connect() as client:
            assert await ask(client, b"up") == b"UP"


async def test_the_reply_of_the_nth_request_is_lost_although_the_server_gave_it():
    taken = []
    async with between(taken) as (proxy, connect):
        lost = proxy.drop_reply(b"take", nth=3)
        async with await connect() as client:
            assert await ask(client, b"take one") == b"TAKE ONE"
        async with await connect() as client:
            assert await ask(client, b"take, ta") == b"TAKE, TA"
            assert not lost.is_set()
            await client.send(b"ke: split in two")
            assert await is_reset(client)
            with anyio.fail_after(5):
                await lost.wait()
        assert b"".join(taken) == b"take onetake, take: split in two"
        async with await connect() as client:
            assert await ask(client, b"take four") == b"TAKE FOUR"


async def test_two_replies_may_be_lost_after_one_another():
    async with between() as (proxy, connect):
        drops = [proxy.drop_reply(b"take", nth=nth) for nth in (1, 2)]
        for drop in drops:
            async with await connect() as client:
                await client.send(b"take")
                assert await is_reset(client)
            with anyio.fail_after(5):
                await drop.wait()


async def test_a_server_that_is_not_there_cuts_its_clients():
    async with open_proxy(free_port()) as proxy, await anyio.connect_tcp(proxy.host, proxy.port) as client:
        assert await is_reset(client)


async def test_an_end_of_either_side_is_passed_on():
    async with between() as (proxy, connect):
        async with await connect() as client:
            assert await ask(client, b"up") == b"UP"
        with anyio.fail_after(5):
            while proxy.connections:
                await anyio.sleep(0.01)

    async def hang_up(client):
        async with client:
            await client.receive()
            await client.send(b"last words")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, hang_up)
        async with (
            open_proxy(listener.extra(SocketAttribute.local_port)) as proxy,
            await anyio.connect_tcp(proxy.host, proxy.port) as client,
        ):
            assert await ask(client, b"last words") == b"last words"
            assert not await is_reset(client)
        group.cancel_scope.cancel()


async def test_what_makes_no_sense_is_refused():
    async with between() as (proxy, _):
        for request, nth in ((b"", 1), (b"x" * 1025, 1), (b"x", 0)):
            with pytest.raises(ValueError, match="nth is 1 or more"):
                proxy.drop_reply(request, nth=nth)
        with pytest.raises(ValueError, match="negative"):
            proxy.delay(-1)
        assert proxy.mode == "pass"
