"""Batches that are on their way over one link at once."""

import anyio
import pytest

from botvisor.actors.backend.redis_errors import LinkLost

from . import redis_server
from .link_rig import PING, opened, stuck

servers = redis_server.servers


async def test_batches_on_their_way_at_once_are_carried_out_in_order_and_get_their_own_replies(servers):
    server = await servers()
    async with opened(server) as link, opened(server) as other, anyio.create_task_group() as group:
        ended = []

        async def wait(name, *commands):
            ended.append((name, await link.execute([*commands, ("RPUSH", "order", name)])))

        group.start_soon(wait, "first", ("BLPOP", "gate", 0))
        await server.until(server.is_waited_on)
        for name in ("second", "third"):
            group.start_soon(wait, name, ("ECHO", name))
            await anyio.wait_all_tasks_blocked()
        await other.execute([("RPUSH", "gate", "open")])
        with anyio.fail_after(5):
            while len(ended) < 3:
                await anyio.sleep(0.001)
        assert sorted(ended) == [
            ("first", [[b"gate", b"open"], 1]),
            ("second", [b"second", 2]),
            ("third", [b"third", 3]),
        ]


@pytest.mark.parametrize("leaver", ["who reads", "who waits behind"])
async def test_a_batch_that_is_cancelled_leaves_the_others_on_their_way(servers, leaver):
    server = await servers()
    async with opened(server) as link, opened(server) as other, anyio.create_task_group() as group:
        scopes, kept = [anyio.CancelScope() for _ in range(3)], {}

        async def wait(place, *commands):
            with scopes[place]:
                kept[place] = await link.execute(commands)

        group.start_soon(wait, 0, ("BLPOP", "gate", 0), ("ECHO", 0))
        await server.until(server.is_waited_on)
        for place in (1, 2):
            group.start_soon(wait, place, ("ECHO", place))
        await anyio.wait_all_tasks_blocked()
        left = 0 if leaver == "who reads" else 1
        scopes[left].cancel()
        await anyio.wait_all_tasks_blocked()
        await other.execute([("RPUSH", "gate", "open")])
        with anyio.fail_after(5):
            while len(kept) < 2:
                await anyio.sleep(0.001)
        answers = {0: [[b"gate", b"open"], b"0"], 1: [b"1"], 2: [b"2"]}
        del answers[left]
        assert kept == answers
        assert await link.execute([PING]) == [b"PONG"]


async def test_a_connection_that_breaks_ends_all_batches_on_their_way(servers):
    server = await servers()
    async with opened(server) as link, anyio.create_task_group() as group:
        lost = []

        async def wait():
            with pytest.raises(LinkLost) as caught:
                await link.execute([("BLPOP", "nothing", 0)])
            lost.append(caught.value.reason)

        for _ in range(3):
            group.start_soon(wait)
        await server.until(server.is_waited_on)
        server.kill()
        with anyio.fail_after(5):
            while len(lost) < 3:
                await anyio.sleep(0.001)
        assert len(set(lost)) == 1
        assert link.broken


async def test_after_a_cancelled_batch_the_next_gets_its_own_replies(servers):
    server = await servers()
    async with opened(server) as link, opened(server) as other:
        for _ in range(2):
            await stuck(link)
            await other.execute([("RPUSH", "nothing", "late")])
            assert await link.execute([("ECHO", "fresh"), PING]) == [b"fresh", b"PONG"]
        await stuck(link)
        with anyio.move_on_after(0.1) as scope:  # what is owed only grows
            await link.execute([("ECHO", "stale, too")])
        assert scope.cancelled_caught
        await other.execute([("RPUSH", "nothing", "late")])
        assert await link.execute([("ECHO", "fresh")]) == [b"fresh"]


async def test_on_asyncio_an_idle_link_is_known_to_be_lost_before_anything_is_sent(
    servers, anyio_backend_name
):
    if anyio_backend_name == "trio":
        pytest.skip("trio's streams tell nothing unasked")
    server = await servers()
    async with opened(server) as link:
        assert not link.broken
        server.kill()
        with anyio.fail_after(5):
            while not link.broken:
                await anyio.sleep(0.001)
        with pytest.raises(LinkLost, match="is broken"):
            await link.execute([PING])
