import time

import anyio
import pytest

pytestmark = pytest.mark.virtual_time


async def test_hours_pass_in_milliseconds():
    began = time.monotonic()
    start = anyio.current_time()
    for _ in range(10):
        await anyio.sleep(3600)
    assert anyio.current_time() - start == pytest.approx(36_000)
    assert time.monotonic() - began < 5


async def test_time_stands_still_while_tasks_run():
    start = anyio.current_time()
    for _ in range(1_000):
        await anyio.lowlevel.checkpoint()
    assert anyio.current_time() == start


async def test_timers_fire_in_order():
    seen = []

    async def nap(seconds):
        await anyio.sleep(seconds)
        seen.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (3, 1, 2, 0.5):
            group.start_soon(nap, seconds)
    assert seen == [0.5, 1, 2, 3]


async def test_a_deadline_cuts_a_wait_short():
    start = anyio.current_time()
    with anyio.move_on_after(7) as scope:
        await anyio.Event().wait()
    assert scope.cancelled_caught
    assert anyio.current_time() - start == pytest.approx(7)


def test_anyio_run_takes_the_clock_too(anyio_backend):
    backend, options = anyio_backend
    began = time.monotonic()
    anyio.run(anyio.sleep, 20, backend=backend, backend_options=options)
    assert time.monotonic() - began < 20
