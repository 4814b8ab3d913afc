"""Children that asyncio cancels before their first step: nothing of them is left to warn of."""

import asyncio
import gc
import inspect
import warnings

import anyio
import anyio.lowlevel
import pytest

from botvisor.shared import join
from botvisor.tasks import ChildGroup

from .fleet import settings_in


def never_awaited(main):
    """Run a main function in an event loop of its own; returns what Python says was never awaited."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    texts = [str(each.message).splitlines()[0] for each in told]
    return [text for text in texts if "never awaited" in text]


def test_a_child_that_is_cancelled_before_its_first_step_is_closed():
    began, children = [], []

    async def child(number):
        began.append(number)
        await anyio.sleep_forever()

    def noted(number):
        children.append(child(number))
        return children[-1]

    async def main():
        async with ChildGroup() as group:
            group.start_soon(noted, 1)
            await anyio.lowlevel.checkpoint()
            group.start_soon(noted, 2, name="the unlucky one")
            (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "the unlucky one"]
            task.cancel()

    assert never_awaited(main) == []
    assert began == [1]
    assert [inspect.getcoroutinestate(each) for each in children] == [inspect.CORO_CLOSED] * 2


@pytest.mark.parametrize("steps", range(8))
def test_a_loop_that_ends_while_its_supervisor_starts_leaves_nothing_unawaited(tmp_path, steps):
    async def main():
        joining = asyncio.create_task(join(settings_in(tmp_path)))
        for _ in range(steps):
            await asyncio.sleep(0)
        return joining

    told = never_awaited(main)
    assert [text for text in told if "Shared" in text or "Supervisor" in text] == []


def test_an_error_of_a_child_ends_its_group():
    async def fails():
        raise ValueError("drill")

    async def main():
        async with ChildGroup() as group:
            group.start_soon(fails)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(main())
    assert repr(caught.value.exceptions) == "(ValueError('drill'),)"
