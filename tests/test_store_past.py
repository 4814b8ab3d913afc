"""What every store tells of a queue without taking anything: its past, whether it is served, what is kept."""

import msgspec
import pytest

from botvisor.errors import StoreError
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.store import (
    Broadcast,
    BuryMessage,
    IsKept,
    IsServed,
    Past,
    PushMessage,
    Queue,
    ReadPast,
    ReleaseLease,
    WriteHeartbeat,
)
from botvisor.testing import MemoryStore
from botvisor.wire import id_digest

from .store_worlds import QUEUE, ROOM, ask, done_with, lease, message, push, take


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def past(world, instance="two", queue=QUEUE):
    return await ask(world, ReadPast(queue, instance))


async def test_a_queue_that_nobody_used_has_no_past(world):
    assert await past(world) == Past()


async def test_what_was_handled_is_known_to_successors(world):
    await push(world, "a", "b")
    await lease(world)
    second = await take(world, done_with(await take(world)))
    assert await past(world) == Past(handled=frozenset({id_digest("a")}), in_flight=id_digest("b"))
    await take(world, done_with(second))
    assert (await past(world)).handled == {id_digest("a"), id_digest("b")}


async def test_what_a_reader_has_claimed_itself_is_no_news_to_it(world):
    await push(world, "a")
    await lease(world)
    await take(world, attempt="one-0")
    assert (await past(world, "one")).in_flight == ""
    assert (await past(world, "two")).in_flight == id_digest("a")


async def test_what_was_given_up_is_known(world):
    await push(world, "a")
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "enough"))
    assert (await past(world)).dead == {id_digest("a")}


async def test_the_past_of_one_queue_is_not_that_of_another_whose_name_begins_alike(world):
    longer = Queue("bot", f"{QUEUE.key}.2")
    await push(world, "a", queue=longer)
    await lease(world, queue=longer)
    await take(world, done_with(await take(world, queue=longer)), queue=longer)
    assert await past(world) == Past()


async def test_a_message_without_an_id_is_known_by_the_name_its_store_gave_it(world):
    await ask(world, PushMessage(QUEUE, "its-name", msgspec.json.encode({"message": "hi"})))
    await lease(world)
    claim = await take(world)
    assert (await past(world)).in_flight == id_digest(claim.name)


async def test_a_queue_is_served_while_its_lease_is_held(world):
    assert await ask(world, IsServed(QUEUE)) is False
    await lease(world)
    assert await ask(world, IsServed(QUEUE)) is True
    await ask(world, ReleaseLease(QUEUE, "one"))
    assert await ask(world, IsServed(QUEUE)) is False


async def test_a_bot_with_a_fresh_heartbeat_is_served_and_one_that_stopped_is_not(world):
    def beat(status):
        return Heartbeat(
            pid=1, room_url="", participants=(), timestamp="2030-01-01T00:00:00+00:00", status=status
        )

    await ask(world, WriteHeartbeat(QUEUE.key, to_hash(beat("healthy"))))
    assert await ask(world, IsServed(QUEUE)) is True
    assert await ask(world, IsServed(Queue("room", ROOM))) is False
    await ask(world, WriteHeartbeat(QUEUE.key, to_hash(beat("stopped"))))
    assert await ask(world, IsServed(QUEUE)) is False


async def test_a_durable_message_is_kept(world):
    await ask(world, PushMessage(QUEUE, "a", message("a"), durable=True))
    assert await ask(world, IsKept(QUEUE, "a")) is True
    assert await ask(world, IsKept(QUEUE, "b")) is False


async def test_a_broadcast_reaches_those_who_listen_and_needs_a_store_that_has_it(world):
    match world.store:
        case MemoryStore():
            got = []
            world.store.on_broadcast(got.append)
            assert await ask(world, Broadcast(b"{}")) == 1
            assert got == [b"{}"]
        case store if hasattr(store, "spool"):
            with pytest.raises(StoreError, match="needs Redis"):
                await ask(world, Broadcast(b"{}"))
        case _:
            assert await ask(world, Broadcast(b"{}")) == 0
