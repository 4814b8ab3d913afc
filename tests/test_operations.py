"""What a backend was asked for: counted and timed, and told in the heartbeats."""

import anyio
import pytest

from botvisor.actors.backend.operations import Operations
from botvisor.errors import LeaseLost, StoreUnavailable
from botvisor.store import NextMessage, Queue, ReadIdentity
from botvisor.testing import MemoryStore, fake_bot

READ = ReadIdentity("room", "ann")
NEXT = NextMessage(Queue("bot", "ada"), "one", "a")


def test_operations_are_counted_by_the_names_of_commands():
    operations = Operations()
    operations.add([READ, NEXT, READ], [None, None, None], 0.001)
    operations.add([READ], [None], 0.001)
    figures = operations.figures()
    assert figures["operations"] == {"ReadIdentity": 3, "NextMessage": 1}
    assert (figures["errors"], figures["batches"]) == ({}, 2)


def test_an_exception_is_an_error():
    operations = Operations()
    operations.add([READ, NEXT, NEXT], [StoreUnavailable("gone"), LeaseLost("admin:queue:ada"), None], 0.001)
    assert operations.figures()["errors"] == {"ReadIdentity": 1, "NextMessage": 1}


def test_times_are_those_of_the_last_thousand_batches():
    operations = Operations()
    for _ in range(1_000):
        operations.add([READ], [None], 60.0)
    for milliseconds in range(1_000):
        operations.add([READ], [None], milliseconds / 1_000)
    figures = operations.figures()
    assert (figures["p50_ms"], figures["p99_ms"]) == (500.0, 990.0)


def test_without_a_batch_there_are_no_times():
    figures = Operations().figures()
    assert (figures["p50_ms"], figures["p99_ms"], figures["operations"]) == (0.0, 0.0, {})


@pytest.mark.virtual_time
async def test_a_heartbeat_tells_of_the_backend():
    async def main(bot):
        await bot.identities.write("ann", {"name": "Ann"})
        await bot.wait_stopping()

    store = MemoryStore()
    async with fake_bot(main, store=store) as bot:
        await anyio.sleep(30)
        store.fail_with(StoreUnavailable("no disk"))
        await anyio.sleep(15)
        store.heal()
        await anyio.sleep(30)
        health = (await bot.heartbeat()).health
    figures = health["store"]["memory"]
    assert health["backend"] == "memory"
    assert figures["operations"]["WriteIdentity"] == 1
    assert figures["operations"]["WriteHeartbeat"] > 3
    assert figures["batches"] > 3
    assert figures["retries"] == health["store"]["retries"] > 0
    assert figures["errors"]
