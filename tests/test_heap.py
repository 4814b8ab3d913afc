"""The garbage collector and many bots: it looks at the living ones once, and sees what the dead leave."""

import gc
import weakref

import pytest

from botvisor.heap import STEP, Heap
from botvisor.testing import MemoryStore

from .bot_rig import supervisor_on

one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the collector knows none


class Node:
    """Garbage that only the collector finds: it refers to itself."""

    def __init__(self):
        self.itself = self


def nothing_is_frozen():
    return gc.get_freeze_count() < 1_000  # Python 3.12 itself freezes some hundred objects


@pytest.fixture
def heap():
    thresholds = gc.get_threshold()
    heap = Heap()
    yield heap
    heap.thaw()
    assert nothing_is_frozen()
    assert gc.get_threshold() == thresholds


def is_looked_at(node):
    return any(each is node for each in gc.get_objects())


def test_a_process_of_few_bots_is_left_alone(heap):
    heap.grew(STEP - 1)
    heap.shrank()
    assert nothing_is_frozen()


def test_what_many_bots_are_made_of_is_not_looked_at_any_more(heap):
    node, garbage = Node(), weakref.ref(Node())
    heap.grew(STEP)
    assert not is_looked_at(node)
    assert garbage() is None
    later = Node()
    heap.grew(2 * STEP - 1)
    assert is_looked_at(later)
    heap.grew(2 * STEP)
    assert not is_looked_at(later)


def test_what_ended_bots_leave_is_found_once_half_have_ended(heap):
    node = Node()
    garbage = weakref.ref(node)
    heap.grew(STEP)
    del node
    for _ in range(STEP // 2 - 1):
        heap.shrank()
    gc.collect()
    assert garbage() is not None
    heap.shrank()
    gc.collect()
    assert garbage() is None


def test_an_authors_own_frozen_objects_stay_frozen(heap):
    node = Node()
    gc.freeze()
    try:
        later = Node()
        heap.grew(STEP)
        heap.thaw()
        assert is_looked_at(later)
        assert not is_looked_at(node)
    finally:
        gc.unfreeze()


def test_a_collector_that_is_switched_off_stays_so(heap):
    gc.disable()
    try:
        heap.grew(STEP)
        assert nothing_is_frozen()
    finally:
        gc.enable()


@one_loop
async def test_bots_of_a_supervisor_are_frozen_when_they_are_many_and_freed_when_it_ends():
    async def serve(bot):
        async for _ in bot.inbox:
            pass

    async with supervisor_on(MemoryStore()) as (supervisor, link):
        handles = [await supervisor.start_bot(serve, bot_id=f"b{number}") for number in range(STEP)]
        assert not is_looked_at(handles[0].bot)
        bots = [weakref.ref(handle.bot) for handle in handles]
        del handles
    assert nothing_is_frozen()
    del supervisor, link
    gc.collect()
    assert [bot for bot in bots if bot() is not None] == []
