"""What every store does with a queue: leases, claims and acknowledgements."""

import time

import pytest

from botvisor.errors import LeaseLost
from botvisor.store import (
    BuryMessage,
    Done,
    NextMessage,
    PushMessage,
    Queue,
    ReleaseLease,
    ReturnMessage,
)

from .store_worlds import ONE, QUEUE, ROOM, TWO, ask, done_with, lease, message, push, receipt, take

# Leases


async def test_a_free_lease_is_granted_and_renewed(world):
    assert await lease(world) is None
    assert await lease(world) is None


async def test_a_lease_that_is_held_names_its_owner(world):
    await lease(world)
    assert await lease(world, TWO) == ONE


async def test_a_lease_that_was_given_up_is_free(world):
    await lease(world)
    await ask(world, ReleaseLease(QUEUE, "one"))
    assert await lease(world, TWO) is None


async def test_only_its_owner_gives_a_lease_up(world):
    await lease(world)
    await ask(world, ReleaseLease(QUEUE, "two"))
    assert await lease(world, TWO) == ONE


async def test_the_lease_of_a_dead_owner_is_free(world):
    await lease(world)
    world.die()
    assert await lease(world, TWO) is None


async def test_each_queue_has_its_own_lease(world):
    await lease(world)
    assert await lease(world, TWO, Queue("room", ROOM)) is None
    assert await lease(world, TWO, Queue("bot", "bot-1.2")) is None


async def test_without_the_lease_nothing_is_claimed_returned_or_buried(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    for command in (
        NextMessage(QUEUE, "two", "a"),
        NextMessage(QUEUE, "two", "a", done_with(claim), take=False),
        ReturnMessage(QUEUE, "two", claim.token),
        BuryMessage(QUEUE, "two", claim.token, "no"),
    ):
        with pytest.raises(LeaseLost):
            await ask(world, command)
    assert await receipt(world, "m") == "delivered"


# Messages: claim and acknowledge


async def test_a_message_is_claimed_as_it_was_pushed(world):
    began = time.time()
    assert isinstance(await ask(world, PushMessage(QUEUE, "m", message("m", mode="queued"))), str)
    await lease(world)
    claim = await take(world)
    assert claim.raw == message("m", mode="queued")
    assert (claim.tries, claim.done, claim.doubtful) == (1, False, False)
    assert began - 5 < claim.stored_at < time.time() + 5


async def test_an_empty_queue_gives_nothing(world):
    await lease(world)
    assert await take(world) is None


async def test_messages_come_in_the_order_they_were_pushed(world):
    ids = [f"m{number}" for number in range(20)]
    await push(world, *ids)
    await lease(world)
    seen, done = [], None
    while (claim := await take(world, done)) is not None:
        done = done_with(claim)
        seen.append(done.message_id)
    assert seen == ids


async def test_only_one_message_is_in_flight(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    assert await take(world) == first
    assert await receipt(world, "m2") == "stored"


async def test_a_message_pushed_while_another_is_in_flight_comes_next(world):
    await push(world, "m1")
    await lease(world)
    first = await take(world)
    await push(world, "m2")
    assert (await take(world, done_with(first))).raw == message("m2")


async def test_take_false_acknowledges_and_claims_nothing(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    assert await ask(world, NextMessage(QUEUE, "one", "first", done_with(first), take=False)) is None
    assert [await receipt(world, each) for each in ("m1", "m2")] == ["handled", "stored"]


async def test_acknowledging_twice_is_harmless(world):
    await push(world, "m1", "m2")
    await lease(world)
    done = done_with(await take(world))
    second = await take(world, done)
    assert await take(world, done) == second
    assert (await take(world, done_with(second))) is None


async def test_two_equal_texts_without_id_are_two_messages(world):
    for number in (1, 2):
        await ask(world, PushMessage(QUEUE, f"n{number}", b'{"message":"twice"}'))
    await lease(world)
    first = await take(world)
    second = await take(world, Done(first.token, first.name))
    assert first.name != second.name
    assert not second.done
    assert await take(world, Done(second.token, second.name)) is None


async def test_queues_do_not_see_each_others_messages(world):
    queues = [
        QUEUE,
        Queue("bot", "bot"),
        Queue("bot", "bot-1-2"),
        Queue("room", ROOM),
        Queue("pre-spawn", ROOM),
    ]
    for number, queue in enumerate(queues):
        await push(world, f"m{number}", queue=queue)
    for number, queue in enumerate(queues):
        await lease(world, queue=queue)
        claim = await take(world, queue=queue)
        assert claim.raw == message(f"m{number}")
        assert await take(world, done_with(claim), queue=queue) is None
