"""Probes: what a process manager asks over HTTP, answered by the event loop itself."""

import dataclasses
import re
import socket
import sys
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor import Hooks, Settings, open_client, responder
from botvisor.testing import MemoryStore, fake_bot

from .bot_rig import logged, supervisor_on, until
from .fleet import settings_in
from .processes import Scripts
from .redis_server import free_port

ANY_PORT = Settings(probe_port=0)
one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # for what does not depend on it


async def serve(bot):
    async for _ in bot.inbox:
        pass


async def ask(port, request, *, eof=False):
    """Send bytes; returns the status, the fields of the header, and the body."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        if eof:
            await stream.send_eof()
        answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.split(": ") for field in fields), body.decode()


async def get(port, path, method="GET"):
    return await ask(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


def port_in(lines):
    """The port that the log names; None before that."""
    found = [re.search(r"Probes are answered on \S+ port (\d+)", line) for line in lines]
    return next((int(match[1]) for match in reversed(found) if match), None)


@asynccontextmanager
async def probed(main=serve, **more):
    """A bot, and the port of its probes."""
    with logged() as lines:
        async with fake_bot(main, settings=ANY_PORT, **more) as bot:
            await until(lambda: port_in(lines), 5)
            bot.lines = lines
            yield bot, port_in(lines)


async def test_a_bot_that_takes_messages_is_alive_and_ready():
    async with probed() as (bot, port):
        status, fields, body = await get(port, "/livez")
        assert (status, body) == (200, "ok\n")
        assert (fields["Connection"], fields["Content-Length"]) == ("close", "3")
        assert await get(port, "/readyz?verbose") == (
            200,
            fields | {"Content-Length": str(len(bot.handle.id) + 9)},
            f"{bot.handle.id} healthy\n",
        )


@one_loop
async def test_a_store_that_hangs_changes_neither():
    async with probed() as (bot, port):
        bot.store.hang()
        with anyio.fail_after(1):
            assert [(await get(port, path))[0] for path in ("/livez", "/readyz")] == [200, 200]
        bot.store.heal()


@one_loop
async def test_a_bot_that_starts_is_alive_and_not_ready():
    store = MemoryStore()
    store.hang()
    with logged() as lines:
        async with (
            supervisor_on(store, settings=ANY_PORT) as (supervisor, _),
            anyio.create_task_group() as g,
        ):
            g.start_soon(supervisor.start_bot, serve)
            await until(lambda: port_in(lines), 5)
            port = port_in(lines)
            assert (await get(port, "/livez"))[0] == 200
            assert (await get(port, "/readyz"))[0] == 503
            store.heal()
            with anyio.fail_after(5):
                while (await get(port, "/readyz"))[0] != 200:
                    await anyio.sleep(0.01)


@one_loop
async def test_a_bot_that_drains_is_alive_and_not_ready():
    leave = anyio.Event()

    async def main(bot):
        await bot.wait_stopping()
        await leave.wait()

    async with probed(main) as (bot, port):
        bot.handle.drain("the test says so")
        await bot.bot.wait_stopping()
        status, _, body = await get(port, "/readyz")
        assert (status, body) == (503, f"{bot.handle.id} draining\n")
        assert (await get(port, "/livez"))[0] == 200
        leave.set()
        await bot.wait()
        assert (await get(port, "/readyz"))[0] == 503


@one_loop
async def test_a_taken_port_is_one_error_and_a_degraded_bot_until_it_is_free(monkeypatch):
    monkeypatch.setattr("botvisor.probes.TRY_AGAIN_S", 0.05)
    reasons = []

    async def on_degraded(bot, reason):
        reasons.append(reason)

    with logged() as lines, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        hooks = Hooks(on_degraded=on_degraded)
        async with fake_bot(serve, settings=Settings(probe_port=port), hooks=hooks) as bot:
            await until(lambda: reasons, 5)
            await anyio.sleep(0.2)
            beat = await bot.heartbeat()
            assert (beat.status, beat.health["resting"], reasons) == (
                "degraded",
                ["probes"],
                ["probes is at rest"],
            )
            (error,) = [line for line in lines if line.startswith("ERROR")]
            assert f"127.0.0.1 port {port}" in error
            assert "BOT_PROBE_PORT" in error
            await bot.send("taken all the same", wait=5)
            taken.close()
            await until(lambda: bot.bot.status == "healthy", 5)
            assert (await get(port, "/livez"))[0] == 200


@one_loop
async def test_an_address_that_is_none_is_no_end_either():
    settings = Settings(probe_port=0, probe_host="no such host")
    async with fake_bot(serve, settings=settings) as bot:
        await until(lambda: bot.bot.status == "degraded", 20)


@one_loop
async def test_clients_answer_no_probes(tmp_path):
    port = free_port()
    settings = dataclasses.replace(settings_in(tmp_path), probe_port=port)
    async with open_client(settings):
        with pytest.raises(OSError):  # noqa: PT011 - refused, whatever the system calls it
            await anyio.connect_tcp("127.0.0.1", port)


@one_loop
async def test_metrics_without_their_extra_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with probed() as (_, port):
        status, _, body = await get(port, "/metrics")
        assert (status, body) == (501, "metrics need what `pip install 'botvisor[metrics]'` installs\n")


@one_loop
async def test_head_is_answered_without_a_body():
    async with probed() as (_, port):
        status, fields, body = await get(port, "/livez", "HEAD")
        assert (status, fields["Content-Length"], body) == (200, "3", "")


@one_loop
async def test_what_is_not_there_is_not_found():
    async with probed() as (_, port):
        assert (await get(port, "/"))[0] == 404


@one_loop
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"POST /livez HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", 405),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET /livez HTTP/2\r\n\r\n", 400),
        (b"GET livez HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * responder.HEADER_BYTES + b"\r\n\r\n", 431),
        (b"x" * 100_000, 431),
    ],
)
async def test_what_is_no_get_is_refused(request_, expected):
    async with probed() as (_, port):
        assert (await ask(port, request_))[0] == expected
        assert (await get(port, "/livez"))[0] == 200


@one_loop
async def test_who_says_nothing_is_left_after_a_while_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(responder, "LIMIT_S", 0.3)
    async with probed() as (_, port), await anyio.connect_tcp("127.0.0.1", port) as slow:
        await slow.send(b"GET /livez")
        assert (await get(port, "/livez"))[0] == 200
        with anyio.fail_after(2), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await slow.receive()


@one_loop
async def test_who_leaves_in_mid_request_harms_nobody():
    async with probed() as (bot, port):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET /li")
        assert (await get(port, "/livez"))[0] == 200
        assert not [line for line in bot.lines if "probes" in line and not line.startswith("INFO")]


@one_loop
async def test_more_connections_than_are_allowed_are_closed(monkeypatch):
    monkeypatch.setattr(responder, "CONNECTIONS", 2)
    async with probed() as (_, port):
        slow = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(2)]
        await anyio.sleep(0.05)
        async with await anyio.connect_tcp("127.0.0.1", port) as third:
            with anyio.fail_after(2), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await third.receive()
        for stream in slow:
            await stream.aclose()


def test_a_blocked_loop_is_not_alive_until_it_turns_again(tmp_path):
    with Scripts(tmp_path) as scripts:
        port = free_port()
        bot = scripts.bot(
            """
            async for message in bot.inbox:
                print("blocks", flush=True)
                time.sleep(1)
                print("turns", flush=True)
            """,
            "bot_id='ada'",
            BOT_PROBE_PORT=str(port),
            BOT_LOG_LEVEL="INFO",
        )
        bot.says("Probes are answered")
        assert probe(port) == b"HTTP/1.1 200 OK"
        (tmp_path / "admin_message" / "admin-ada-1.json").write_text('{"message": "block"}')
        bot.says("blocks")
        with pytest.raises(TimeoutError):
            probe(port, within_s=0.3)
        bot.says("turns")
        assert probe(port) == b"HTTP/1.1 200 OK"
        assert bot.stop() == 0


def probe(port, within_s=5.0):
    with socket.create_connection(("127.0.0.1", port), within_s) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        return sock.recv(100).split(b"\r\n")[0]
