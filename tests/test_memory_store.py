"""Faults on demand of the store in memory."""

import anyio
import pytest

from botvisor.errors import LeaseLost, StoreUnavailable
from botvisor.store import (
    AcquireLease,
    NextMessage,
    ReadHeartbeat,
    Sweep,
)
from botvisor.testing.memory import MemoryStore
from botvisor.wire import LEASE_TTL_S

from .store_worlds import ONE, QUEUE, TWO

# Faults on demand


async def test_a_store_in_memory_fails_whole_batches_until_it_is_healed():
    store = MemoryStore()
    error = StoreUnavailable("no disk")
    store.fail_with(error)
    assert await store.execute([ReadHeartbeat("a"), Sweep()]) == [error, error]
    store.fail_with(None)
    assert await store.execute([ReadHeartbeat("a")]) == [None]


@pytest.mark.virtual_time
async def test_a_store_in_memory_is_slow_on_demand():
    store = MemoryStore()
    store.slow(30)
    began = anyio.current_time()
    await store.execute([Sweep()])
    assert anyio.current_time() - began == pytest.approx(30)


@pytest.mark.virtual_time
async def test_a_store_in_memory_hangs_until_it_is_healed():
    store = MemoryStore()
    store.hang()
    answers = []

    async def execute():
        answers.extend(await store.execute([ReadHeartbeat("a")]))

    async with anyio.create_task_group() as group:
        group.start_soon(execute)
        await anyio.sleep(1000)
        assert answers == []
        store.heal()
    assert answers == [None]


@pytest.mark.virtual_time
async def test_a_lease_in_memory_ends_when_it_is_not_renewed():
    store = MemoryStore()
    await store.execute([AcquireLease(QUEUE, ONE)])
    await anyio.sleep(LEASE_TTL_S + 1)
    first, second = await store.execute([NextMessage(QUEUE, "one", "a"), AcquireLease(QUEUE, TWO)])
    assert isinstance(first, LeaseLost)
    assert second is None
