"""Cancelled at any moment: bounded, no task left, every lease given up."""

import asyncio

import anyio
import anyio.lowlevel
import pytest

from botvisor import open_bot, open_client, open_supervisor
from botvisor.errors import SupervisorStopped

from .fleet import ROOM, held_leases, in_memory, settings_in, until_stopped


async def cancel_after(steps, scope):
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def cancelled(steps, block):
    """Run a block that is cancelled after so many turns of the event loop."""
    with anyio.fail_after(20), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_after, steps, scope)
            await block()
    return scope.cancelled_caught


def no_task_is_left():
    try:
        names = [task.get_name() for task in asyncio.all_tasks()]
    except RuntimeError:
        return  # trio's own end would name it
    assert [name for name in names if "botvisor" in name] == []


async def test_the_block_of_a_bot(tmp_path):
    settings = settings_in(tmp_path)

    async def block():
        async with open_bot(room_url=ROOM, bot_id="ada", settings=settings):
            await anyio.sleep_forever()

    for steps in [*range(12), 15, 20, 30, 50, 80, 120, 500]:
        assert await cancelled(steps, block)
        assert await held_leases(settings) == []
    no_task_is_left()


async def test_the_block_of_a_supervisor(tmp_path):
    settings = settings_in(tmp_path)

    async def block():
        async with open_supervisor(settings) as supervisor:
            await supervisor.start_bot(until_stopped, room_url=ROOM, bot_id="ada")
            await anyio.sleep_forever()

    for steps in [*range(12), 15, 20, 30, 50, 80, 120, 500]:
        assert await cancelled(steps, block)
        assert await held_leases(settings) == []


async def test_the_block_of_a_client(tmp_path):
    settings = settings_in(tmp_path)

    async def block():
        async with open_client(settings) as client:
            while True:
                await client.send("ada", "hello", wait=1)

    for steps in range(0, 60, 4):
        assert await cancelled(steps, block)
    no_task_is_left()


@pytest.mark.virtual_time
async def test_the_start_of_a_bot():
    handles = []
    for steps in range(80):
        async with in_memory() as fleet:
            before = len(handles)

            async def block(fleet=fleet):
                handles.append(await fleet.start_bot(until_stopped, room_url=ROOM, bot_id="ada"))

            await cancelled(steps, block)
            for handle in handles[before:]:
                await handle.stop()
            assert fleet.supervisor.core.names() == ["backend", "doorbell"]
            assert await held_leases(fleet.store) == []
    assert 0 < len(handles) < 80


@pytest.mark.virtual_time
async def test_a_bot_that_starts_while_its_supervisor_closes_is_unwound():
    for steps in range(60):
        results = []

        async def start(fleet, results):
            try:
                results.append(await fleet.start_bot(until_stopped, bot_id="ada"))
            except SupervisorStopped as error:
                results.append(error)

        async with anyio.create_task_group() as group:
            async with in_memory() as fleet:
                group.start_soon(start, fleet, results)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
            assert fleet.supervisor.core.names() == []
        assert len(results) == 1
        assert isinstance(results[0], SupervisorStopped) or results[0].outcome.value == "ada"
        assert await held_leases(fleet.store) == []


async def test_asyncios_own_cancellation_of_a_block(tmp_path, anyio_backend_name):
    if anyio_backend_name == "trio":
        pytest.skip("trio knows only scopes")
    settings = settings_in(tmp_path)

    async def block():
        async with open_bot(room_url=ROOM, bot_id="ada", settings=settings):
            await anyio.sleep_forever()

    for pause_s in (0, 0.001, 0.01, 0.03, 0.1):
        task = asyncio.create_task(block())
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.wait([task], timeout=20)
        assert task.cancelled()
        assert await held_leases(settings) == []
    no_task_is_left()


# asyncio cancels tasks that have not even begun.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_the_end_of_asyncios_loop_under_a_bot(tmp_path):
    settings = settings_in(tmp_path)

    async def background():
        async with open_bot(room_url=ROOM, bot_id="ada", settings=settings):
            await asyncio.sleep(600)

    async def main(pause_s):
        task = asyncio.create_task(background())
        await asyncio.sleep(pause_s)
        return task

    for pause_s in (0, 0.002, 0.01, 0.1):
        assert asyncio.run(main(pause_s)).cancelled()
        assert asyncio.run(held_leases(settings)) == []
