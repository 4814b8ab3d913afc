"""The link to Redis: batches in, replies out, and never one batch's reply for another."""

import contextlib
import time

import anyio
import pytest

from botvisor.actors.backend.link import Fence, Link
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.actors.backend.redis_errors import ErrorReply, LinkLost
from botvisor.testing import open_proxy
from botvisor.testing.redis_programs import version_of

from . import redis_server
from .link_rig import PING, opened, scripted, stuck

servers = redis_server.servers

VERSIONS = redis_server.versions()


@pytest.mark.parametrize("name", VERSIONS)
async def test_a_link_knows_its_server(servers, name):
    async with opened(await servers(name=name)) as link:
        version = ".".join(map(str, link.server.version))
        assert (link.server.kind, version) == version_of(redis_server.need(name))
        assert link.server.mode == "standalone"
        assert len(link.server.run_id) == 40
        assert link.refused == ()
        assert link.fence.client_id == (await link.execute([("CLIENT", "ID")]))[0]
        assert abs(link.server_ms() - time.time() * 1000) < 1000


@pytest.mark.parametrize("name", VERSIONS)
async def test_each_command_gets_its_reply_and_errors_stay_in_their_places(servers, name):
    async with opened(await servers(name=name)) as link:
        replies = await link.execute(
            [
                ("SET", b"\x00\xff", 12),
                ("GET", b"\x00\xff"),
                ("GET", "missing"),
                ("NOSUCH", "hunter2"),
                ("RPUSH", "ключ", "a", b"b"),
                ("LRANGE", "ключ", 0, -1),
                ("MULTI",),
                ("INCR", "ключ"),
                ("INCR", "n"),
                ("EXEC",),
            ]
        )
        assert replies[:3] == [b"OK", b"12", None]
        assert isinstance(replies[3], ErrorReply)
        assert "hunter2" not in str(replies[3])
        assert replies[4:9] == [2, [b"a", b"b"], b"OK", b"QUEUED", b"QUEUED"]
        wrongtype, one = replies[9]
        assert (wrongtype.code, one) == ("WRONGTYPE", 1)
        assert not link.broken


async def test_a_batch_of_many_and_of_large_replies_comes_whole(servers):
    large = b"x" * 1_000_000
    async with opened(await servers()) as link:
        replies = await link.execute([("SET", "large", large), *[("ECHO", n) for n in range(1000)]])
        assert replies == [b"OK", *[b"%d" % n for n in range(1000)]]
        assert await link.execute([("GET", "large")] * 5) == [large] * 5
        assert await link.execute([]) == []


async def test_a_word_that_cannot_be_sent_harms_nobody(servers):
    async with opened(await servers()) as link:
        for word, error in ((None, TypeError), (True, TypeError), ("\ud800", UnicodeEncodeError)):
            with pytest.raises(error):
                await link.execute([PING, ("SET", "key", word)])
        assert await link.execute([PING]) == [b"PONG"]


async def test_a_batch_that_was_cancelled_while_it_was_sent_is_sent_whole_or_ends_the_link(servers):
    server = await servers()
    async with opened(server) as link:
        server.pause()
        with anyio.move_on_after(0.1):
            await link.execute([("SET", "key", b"x" * 50_000_000)])
        server.resume()
        if not link.broken:  # the event loop goes on sending what it has taken
            assert await link.execute([("STRLEN", "key")]) == [50_000_000]
        else:
            with pytest.raises(LinkLost, match="is broken"):
                await link.execute([PING])


async def test_a_stopped_server_breaks_the_batch_and_answers_the_next_link_once_it_goes_on(servers):
    server = await servers()
    async with opened(server) as link:
        server.pause()
        await stuck(link, 0.3)
        assert not link.heard
        assert link.quiet_s() >= 0.29
        with pytest.raises(TimeoutError, match=rf"127.0.0.1:{server.port}: no link within 0.2 s"):
            await Link.open(Endpoint(host="127.0.0.1", port=server.port), connect_timeout_s=0.2)
        server.resume()
        async with opened(server, fence=link.fence) as new:
            assert await new.execute([("ECHO", "fresh")]) == [b"fresh"]


@pytest.mark.parametrize("fenced", [True, False])
async def test_only_a_fence_keeps_a_late_write_of_the_old_link_out(servers, fenced):
    server = await servers()
    async with open_proxy(server.port) as between, opened(server, port=between.port) as old:
        between.blackhole()
        with anyio.move_on_after(0.1):
            await old.execute([("SET", "late", "write")])
        async with opened(server, fence=old.fence if fenced else None) as new:
            assert new.refused == ()
            between.pass_on()
            if fenced:
                await server.until(lambda: not between.connections)
            else:
                await server.until(lambda: b"$5\r\nwrite" in server.talk(b"GET late\r\n"))
            assert await new.execute([("EXISTS", "late")]) == [int(not fenced)]


async def test_a_fence_of_an_earlier_run_of_the_server_hits_nobody(servers):
    server = await servers()
    async with opened(server) as old:
        await server.restart()
        async with contextlib.AsyncExitStack() as stack:
            bystander = await stack.enter_async_context(opened(server))
            while bystander.fence.client_id < old.fence.client_id:
                bystander = await stack.enter_async_context(opened(server))
            fence = Fence(old.fence.run_id, bystander.fence.client_id)
            await stack.enter_async_context(opened(server, fence=fence))
            assert await bystander.execute([PING]) == [b"PONG"]
            fence = bystander.fence
            await stack.enter_async_context(opened(server, fence=fence))
            with pytest.raises(LinkLost):
                await bystander.execute([PING])


@pytest.mark.parametrize("how", ["killed server", "CLIENT KILL", "RST"])
async def test_a_connection_that_breaks_ends_the_batch(servers, how):
    server = await servers()
    async with open_proxy(server.port) as between, opened(server, port=between.port) as link:

        async def cut():
            await server.until(server.is_waited_on)
            if how == "killed server":
                server.kill()
            elif how == "RST":
                between.reset()
            else:
                async with opened(server) as other:
                    await other.execute([("CLIENT", "KILL", "ID", link.fence.client_id)])

        async with anyio.create_task_group() as group:
            group.start_soon(cut)
            with pytest.raises(LinkLost) as caught:
                await link.execute([("BLPOP", "nothing", 0)])
        assert link.broken
        assert caught.value.reason in ("the server closed the connection", "Connection reset by peer")


async def test_a_link_that_is_closed_under_a_batch_ends_it(servers):
    server = await servers()
    async with opened(server) as link, anyio.create_task_group() as group:

        async def close():
            await server.until(server.is_waited_on)
            await link.aclose()

        group.start_soon(close)
        with pytest.raises(LinkLost):
            await link.execute([("BLPOP", "nothing", 0)])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400\r\n", b"+OK\r\n+OK\r\n", b"+OK\r\n$5\r\nab"])
async def test_an_answer_that_is_not_the_protocols_breaks_the_link(answer):
    async with scripted(answer) as link:
        with pytest.raises(LinkLost):
            await link.execute([PING])
        assert link.broken


async def test_replies_in_pieces_are_put_together_and_each_piece_is_progress():
    pieces = [bytes([byte]) for byte in b"$5\r\nhello\r\n:7\r\n"]
    async with scripted(*pieces, pause_s=0.02) as link, anyio.create_task_group() as group:
        seen = set()

        async def watch():
            while True:
                seen.add(link.last_byte_at)
                await anyio.sleep(0.005)

        group.start_soon(watch)
        assert await link.execute([PING, PING]) == [b"hello", 7]
        assert len(seen) > 5
        assert link.heard
        assert link.quiet_s() < 0.2
        group.cancel_scope.cancel()


async def test_closing_takes_no_longer_than_a_second_whatever_the_server_does(servers):
    server = await servers()
    async with opened(server) as link:
        server.pause()
        with anyio.move_on_after(0.1):
            await link.execute([("SET", "key", b"x" * 50_000_000)])
        began = anyio.current_time()
        await link.aclose()
        await link.aclose()
        assert anyio.current_time() - began < 1.5


async def test_a_database_is_selected(servers):
    server = await servers()
    async with opened(server, db=3) as link, opened(server) as other:
        await link.execute([("SET", "key", "in 3")])
        assert await other.execute([("GET", "key"), ("SELECT", 3), ("GET", "key")]) == [None, b"OK", b"in 3"]
    with pytest.raises(ErrorReply, match="DB index is out of range"):
        await Link.open(Endpoint(host="127.0.0.1", port=server.port, db=99), connect_timeout_s=5)
