"""Links that are slow, that died while nobody used them, and that lead to a server that forgot."""

import time

import anyio

from botvisor.actors.backend import circuit
from botvisor.testing import open_proxy

from . import failover_rig, redis_server, two_loops
from .failover_rig import LOOK, beat, of_level, push, running

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers
anyio_backend = two_loops.anyio_backend


async def test_a_slow_server_that_makes_progress_is_waited_for(servers, rigs, lines):
    server = await servers()
    async with open_proxy(server.port) as slow:
        rig = rigs(server, port=slow.port)
        async with running(rig):
            await rig.run(LOOK)
            slow.trickle(0.124)  # of 14 bytes
            began = time.monotonic()
            assert await rig.run(LOOK) == [None]
            assert time.monotonic() - began > 1.55  # longer than silence may last
        assert rig.mode == "redis"
        assert of_level(lines, "WARNING") == []


async def test_too_slow_a_server_costs_a_batch_its_deadline_and_is_kept(servers, rigs):
    server = await servers()
    async with open_proxy(server.port) as slow:
        rig = rigs(server, port=slow.port)
        async with running(rig):
            await rig.run(LOOK)
            slow.trickle(0.3)
            began = time.monotonic()
            (where,) = await rig.run(push())
            assert where.where.startswith("spool@")
            assert time.monotonic() - began < 3
        assert rig.mode == "redis"


async def test_an_idle_link_that_died_is_found_before_the_next_command(servers, rigs, monkeypatch):
    server = await servers()
    rig = rigs(server)
    await rig.run(LOOK)
    monkeypatch.setattr(circuit, "IDLE_S", 0.0)
    server.pause()
    await rig.store.tend()
    assert rig.mode == "file"


async def test_a_server_that_is_back_empty_at_once_has_the_heartbeats_before_the_next_is_due(servers, rigs):
    server = await servers()
    rig = rigs(server)
    async with running(rig):
        await rig.ask(beat(status=b"healthy"))
        await server.restart()
        assert await rig.run(LOOK) == [None]
        assert rig.mode == "redis"
        with anyio.fail_after(10):
            while rig.client().hget("heartbeat:4711", "status") != b"healthy":
                await anyio.sleep(0.01)
        assert rig.client().zscore("bots:alive", "4711")
        assert rig.store.state()["kept"] == 0


async def test_a_link_that_breaks_under_two_batches_counts_once(servers, rigs, lines):
    server = await servers()
    async with open_proxy(server.port) as between:
        rig = rigs(server, port=between.port)
        await rig.run(LOOK)
        between.blackhole()
        answers = []

        async def ask():
            answers.append(await rig.run(LOOK))

        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            between.reset()
            between.pass_on()
        assert answers == [[None], [None]]
        assert rig.mode == "redis"
        assert of_level(lines, "INFO") == []
