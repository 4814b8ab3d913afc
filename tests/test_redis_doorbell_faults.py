"""Redis's doorbell when its connection breaks, hangs or is refused: it comes back and rings."""

import os
import time

import anyio
import pytest
from anyio.abc import SocketAttribute

from botvisor.actors.backend import redis_bell_link, redis_doorbell
from botvisor.actors.backend.redis_bell_link import DEADLINE_S, PING_EVERY_S
from botvisor.actors.backend.redis_doorbell import RedisDoorbell
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.testing import open_proxy

from . import redis_server, two_loops
from .redis_doorbell_rig import CHANNEL, QUEUE, Asker, Q, away, ringing

servers = redis_server.servers
anyio_backend = two_loops.anyio_backend
SHARE = 0.4


@pytest.fixture
def pinged_often(monkeypatch):
    """A connection is given up after as many PINGs as ever, in a shorter time."""
    monkeypatch.setattr(redis_bell_link, "PING_EVERY_S", PING_EVERY_S * SHARE)
    monkeypatch.setattr(redis_bell_link, "DEADLINE_S", DEADLINE_S * SHARE)


async def test_what_came_while_the_connection_was_killed_is_rung_for(servers):
    async with ringing(await servers(), QUEUE) as (tower, bell):
        for number in range(3):
            tower.client.client_kill_filter(_type="pubsub")
            tower.client.rpush(Q, number)
            assert tower.client.publish(CHANNEL, "{}") == 0  # nobody heard it
            await bell.rings()
        assert tower.warnings() == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # with trio it is the next one that shows it
async def test_a_server_that_hangs_is_noticed_and_found_again(servers):
    async with ringing(await servers(), QUEUE) as (tower, bell):
        tower.server.pause()
        began = anyio.current_time()
        await tower.until(lambda: tower.heard_of("no answer"))
        noticed_s = anyio.current_time() - began
        print(f"noticed after {noticed_s:.1f} s")
        assert DEADLINE_S - PING_EVERY_S - 0.1 < noticed_s < DEADLINE_S + 0.5
        tower.server.resume()
        tower.client.rpush(Q, "{}")
        await bell.rings()
        await tower.until(lambda: len(tower.connections()) == 1)


async def test_a_half_open_connection_is_noticed_and_left_for_another(servers, pinged_often):
    server = await servers()
    async with open_proxy(server.port) as between, ringing(server, QUEUE, port=between.port) as (tower, bell):
        between.blackhole()
        (old,) = tower.connections()
        await tower.until(lambda: tower.heard_of("no answer"))
        between.pass_on()
        await tower.until(lambda: tower.connections() and old not in tower.connections())
        await bell.rings()


async def test_a_loop_that_was_blocked_keeps_its_connection(servers, pinged_often):
    async with ringing(await servers(), QUEUE) as (tower, bell):
        before = tower.connections()
        time.sleep((DEADLINE_S + 2 * PING_EVERY_S) * SHARE)  # noqa: ASYNC251 - that is the fault
        await anyio.sleep(0.3)
        tower.client.publish(CHANNEL, "{}")
        await bell.rings()
        assert tower.connections() == before
        assert tower.told == []


async def test_it_starts_without_a_server_and_survives_restarts_silently(servers, monkeypatch):
    monkeypatch.setattr(redis_doorbell, "WAIT_MIN_S", 0.02)
    server = await servers()
    server.kill()
    async with ringing(server, QUEUE, ask=Asker(server), listening=False) as (tower, bell):
        await anyio.sleep(0.5)  # it has tried a few times
        for _ in range(2):
            await server.restart()
            await bell.rings()  # the confirmation
            await tower.until(tower.listeners)
            tower.client.publish(CHANNEL, "{}")
            await bell.rings()
        assert tower.warnings() == []


async def test_a_store_that_answers_again_ends_the_wait(servers, monkeypatch):
    monkeypatch.setattr(redis_doorbell, "WAIT_MIN_S", redis_doorbell.WAIT_MAX_S)
    monkeypatch.setattr(redis_doorbell, "LOOK_EVERY_S", 0.2)
    server = await servers()
    server.kill()
    async with ringing(server, QUEUE, ask=Asker(server), listening=False) as (tower, _bell):
        await anyio.sleep(0.7)  # by now it waits for seconds
        began = anyio.current_time()
        await server.start()
        await tower.until(tower.listeners)
        assert anyio.current_time() - began < 2.5


@pytest.mark.parametrize(
    ("answer", "most"), [(None, 6), (b"-WRONGPASS invalid username-password pair\r\n", 1)]
)
async def test_a_server_that_turns_everybody_away_is_not_stormed(monkeypatch, answer, most):
    monkeypatch.setattr(redis_doorbell, "WAIT_MIN_S", redis_doorbell.WAIT_MIN_S / 3)
    attempts = 0

    async def turn_away(client):
        nonlocal attempts
        attempts += 1
        async with client:
            if answer is not None:
                await client.receive()
                await client.send(answer)

    told = []
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(SocketAttribute.local_port)
    endpoint = Endpoint(host="127.0.0.1", port=port, db=1)
    doorbell = RedisDoorbell(endpoint, away, notify=lambda *note: told.append(note))
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, turn_away)
        group.start_soon(doorbell.run, lambda: None)
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert 1 <= attempts <= most
    assert told == []


async def test_a_message_of_any_size_is_not_kept_in_memory(servers):
    async with ringing(await servers(), QUEUE) as (tower, bell):
        tower.client.publish(CHANNEL, bytes(20_000_000))
        await bell.rings()
        assert tower.heard_of("published more than")


@pytest.mark.parametrize("there", [True, False])
async def test_a_cancelled_doorbell_leaves_no_descriptor(servers, there):
    server = await servers()
    async with ringing(server, QUEUE):
        pass  # threads and the like that stay
    if not there:
        server.pause()
    before = len(os.listdir("/dev/fd"))
    async with ringing(server, QUEUE, listening=there):
        await anyio.sleep(0.2)
    assert len(os.listdir("/dev/fd")) <= before
    if not there:
        server.resume()
