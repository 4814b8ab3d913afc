"""What every store lets operators see and mend: dead letters, what waits, what is left of bots that ended."""

from datetime import UTC, datetime

import pytest

from botvisor.errors import StoreError
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.mending import DropMessage, ForgetBot, ListDumps, ReadFacts, RequeueMessage
from botvisor.store import (
    BuryMessage,
    ListHeartbeats,
    ListMessages,
    PushMessage,
    ReadHeartbeat,
    WriteHeartbeat,
)
from botvisor.wire import MAX_MESSAGE_BYTES

from . import redis_world
from .store_worlds import QUEUE, ask, lease, message, push, receipt, take

anyio_backend = redis_world.one_loop


async def bury(world, message_id="m"):
    """Let a message become a dead letter; returns it."""
    await push(world, message_id)
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "no good"))
    return await listed(world, "dead")


async def listed(world, state):
    (found,) = [each for each in await ask(world, ListMessages(QUEUE)) if each.state == state]
    return found


async def test_a_dead_letter_is_put_back_and_claimed_anew(world):
    letter = await bury(world)
    again = message("m", resent=True)
    assert await ask(world, RequeueMessage(QUEUE, letter.entry, "m", again)) is True
    assert await receipt(world, "m") == "stored"
    claim = await take(world, attempt="second")
    assert (claim.raw, claim.tries) == (again, 1)


async def test_a_dead_letter_is_put_back_once(world):
    letter = await bury(world)
    command = RequeueMessage(QUEUE, letter.entry, "m", letter.raw)
    assert [await ask(world, command) for _ in range(2)] == [True, False]
    assert len(await ask(world, ListMessages(QUEUE))) == 1


async def test_of_two_dead_letters_with_one_id_both_are_there_and_each_is_mended_by_itself(world):
    raws = [message("m"), message("m", message="the other")]
    await lease(world)
    for raw in raws:
        await ask(world, PushMessage(QUEUE, "m", raw))
        await ask(world, BuryMessage(QUEUE, "one", (await take(world)).token, "no good"))
    entries = {each.raw: each.entry for each in await ask(world, ListMessages(QUEUE))}
    assert sorted(entries) == sorted(raws)
    assert await ask(world, RequeueMessage(QUEUE, entries[raws[0]], "m", raws[0])) is True
    left = await listed(world, "dead")
    assert (left.raw, left.entry) == (raws[1], entries[raws[1]])
    assert await receipt(world, "m") == "stored"
    assert await ask(world, DropMessage(QUEUE, left.entry)) is True
    assert [each.raw for each in await ask(world, ListMessages(QUEUE))] == [raws[0]]


async def test_a_dead_letter_is_dropped(world):
    letter = await bury(world)
    assert [await ask(world, DropMessage(QUEUE, letter.entry)) for _ in range(2)] == [True, False]
    assert await ask(world, ListMessages(QUEUE)) == []


async def test_a_message_that_waits_is_dropped_and_no_other(world):
    await push(world, "m1", "m2")
    found = {each.raw: each.entry for each in await ask(world, ListMessages(QUEUE))}
    assert await ask(world, DropMessage(QUEUE, found[message("m1")])) is True
    assert [each.raw for each in await ask(world, ListMessages(QUEUE))] == [message("m2")]
    await lease(world)
    assert (await take(world)).raw == message("m2")


async def test_what_is_dropped_while_its_bot_serves_the_queue_is_never_claimed(world):
    await lease(world)
    assert await take(world) is None
    await push(world, "m1", "m2")
    found = {each.raw: each.entry for each in await ask(world, ListMessages(QUEUE))}
    assert await ask(world, DropMessage(QUEUE, found[message("m1")])) is True
    assert (await take(world)).raw == message("m2")


async def test_what_is_in_flight_is_its_readers(world):
    await push(world, "m")
    await lease(world)
    await take(world)
    found = await listed(world, "delivered")
    assert found.entry == ""
    assert await ask(world, DropMessage(QUEUE, found.entry)) is False


@pytest.mark.parametrize("entry", ["", "nothing", "dead:nothing", "../x", "dead:../x"])
async def test_an_entry_that_is_not_there_changes_nothing(world, entry):
    await push(world, "m")
    for command in (DropMessage(QUEUE, entry), RequeueMessage(QUEUE, entry, "m", message("m"))):
        (answer,) = await world.store.execute([command])
        assert answer is False or isinstance(answer, StoreError)
    assert await receipt(world, "m") == "stored"


async def test_what_nobody_could_claim_is_not_put_back(world):
    letter = await bury(world)
    (answer,) = await world.store.execute(
        [RequeueMessage(QUEUE, letter.entry, "m", b"x" * (MAX_MESSAGE_BYTES + 1))]
    )
    assert isinstance(answer, StoreError)
    assert (await listed(world, "dead")).entry == letter.entry


async def test_a_bot_that_ended_is_forgotten_and_its_next_start_is_not(world):
    now = datetime.now(UTC).isoformat()
    beat = Heartbeat(pid=1, room_url="", participants=(), timestamp=now, bot_id="b", instance="one")
    await ask(world, WriteHeartbeat("b", to_hash(beat)))
    assert await ask(world, ForgetBot("b", "two")) is False
    assert await ask(world, ReadHeartbeat("b")) == beat
    assert [await ask(world, ForgetBot("b", "one")) for _ in range(2)] == [True, False]
    assert await ask(world, ListHeartbeats()) == []


async def test_without_a_dump_none_is_listed(world):
    assert await ask(world, ListDumps()) == []


async def test_every_store_tells_what_it_is(world):
    assert (await ask(world, ReadFacts()))["kind"] in ("memory", "file", "redis", "valkey")
