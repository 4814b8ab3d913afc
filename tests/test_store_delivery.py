"""What every store does with a message that comes again, and its receipts."""

import pytest

from botvisor.errors import StoreError
from botvisor.store import (
    BuryMessage,
    Done,
    ListMessages,
    PushMessage,
    ReleaseLease,
    ReturnMessage,
)
from botvisor.wire import MAX_MESSAGE_BYTES, MAX_TRIES

from .store_worlds import QUEUE, TWO, ask, done_with, lease, message, push, receipt, take

# Messages: again, and again


async def test_another_attempt_gets_the_message_in_flight_again_with_one_more_try(world):
    await push(world, "m")
    await lease(world)
    first = await take(world, attempt="a")
    second = await take(world, attempt="b")
    assert (second.token, second.raw, second.tries) == (first.token, first.raw, 2)
    assert await take(world, attempt="b") == second


async def test_a_successor_adopts_the_message_in_flight(world):
    await push(world, "m", "later")
    await lease(world)
    await take(world)
    world.die()
    await lease(world, TWO)
    claim = await take(world, instance="two", attempt="second")
    assert (claim.raw, claim.tries) == (message("m"), 2)


async def test_what_was_acknowledged_stays_so_for_a_successor(world):
    await push(world, "m1", "m2")
    await lease(world)
    await take(world, done_with(await take(world)))
    world.die()
    await lease(world, TWO)
    claim = await take(world, instance="two", attempt="second")
    assert (claim.raw, claim.tries) == (message("m2"), 2)
    assert await receipt(world, "m1") == "handled"


async def test_a_message_that_was_tried_too_often_is_given_up_and_the_next_one_comes(world):
    await push(world, "bad", "good")
    await lease(world)
    for number in range(MAX_TRIES):
        claim = await take(world, attempt=f"a{number}")
        assert (claim.raw, claim.tries) == (message("bad"), number + 1)
    assert (await take(world, attempt="last")).raw == message("good")
    assert await receipt(world, "bad") == "dead"


async def test_a_dead_letter_is_listed_with_its_reason(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "nobody wants it"))
    (letter,) = await ask(world, ListMessages(QUEUE))
    assert (letter.raw, letter.state, letter.reason) == (message("m"), "dead", "nobody wants it")
    assert letter.tries == 1
    assert await take(world) is None


async def test_burying_by_an_old_token_is_harmless(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    await take(world, done_with(first))
    await ask(world, BuryMessage(QUEUE, "one", first.token, "too late"))
    assert await receipt(world, "m2") == "delivered"


async def test_a_malformed_message_leaves_the_queue_and_is_no_dead_letter(world):
    await push(world, "m1", "m2")
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "no text", malformed=True))
    assert (await take(world)).raw == message("m2")
    assert await receipt(world, "m1") == "unknown"


async def test_what_is_no_json_never_blocks_what_is_behind_it(world):
    await ask(world, PushMessage(QUEUE, "cut", b'{"message": "cut o'))
    await push(world, "m")
    await lease(world)
    assert (await take(world)).raw == message("m")


async def test_a_returned_message_is_the_next_one_and_was_never_tried(world):
    await push(world, "m1", "m2")
    await lease(world)
    claim = await take(world)
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    assert await receipt(world, "m1") == "stored"
    again = await take(world, attempt="b")
    assert (again.raw, again.tries) == (message("m1"), 1)


async def test_a_returned_message_that_was_shown_before_stays_marked(world):
    await push(world, "m1", "m2")
    await lease(world)
    await take(world, attempt="shown")
    claim = await take(world, attempt="not shown")
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    await ask(world, ReleaseLease(QUEUE, "one"))
    await lease(world, TWO)
    again = await take(world, instance="two", attempt="third")
    assert (again.raw, again.tries) == (message("m1"), 2)


async def test_returning_twice_what_was_shown_before_keeps_its_mark(world):
    await lease(world)
    await push(world, "m1")
    await take(world, attempt="first")
    claim = await take(world, attempt="second")
    assert claim.tries == 2
    for _ in range(3):
        assert await ask(world, ReturnMessage(QUEUE, "one", claim.token)) is None
    assert (await take(world, attempt="third")).tries == 2


async def test_returning_by_an_old_token_is_harmless(world):
    await push(world, "m")
    await lease(world)
    first = await take(world)
    await take(world, done_with(first))
    await ask(world, ReturnMessage(QUEUE, "one", first.token))
    assert await take(world) is None


# Messages: the same id twice


async def test_a_message_that_was_handled_comes_marked_as_done_when_it_is_sent_again(world):
    await push(world, "m")
    await lease(world)
    await take(world, done_with(await take(world)))
    await push(world, "m")
    claim = await take(world)
    assert claim.done
    assert await take(world, done_with(claim)) is None


async def test_the_second_of_two_waiting_twins_is_marked_as_done_at_its_claim(world):
    await push(world, "m", "m")
    await lease(world)
    first = await take(world)
    assert not first.done
    second = await take(world, done_with(first))
    assert second.done
    assert second.token != first.token


async def test_a_message_sent_again_while_in_flight_is_marked_as_done_later(world):
    await push(world, "m")
    await lease(world)
    first = await take(world)
    await push(world, "m")
    assert (await take(world, done_with(first))).done


async def test_a_done_that_comes_late_marks_the_message_that_went_back(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    again = await take(world, done_with(claim))
    assert again is None or again.done


# Receipts


async def test_a_receipt_follows_the_message(world):
    assert await receipt(world, "m") == "unknown"
    await push(world, "m")
    assert await receipt(world, "m") == "stored"
    await lease(world)
    claim = await take(world)
    assert await receipt(world, "m") == "delivered"
    await take(world, done_with(claim))
    assert await receipt(world, "m") == "handled"


@pytest.mark.parametrize("message_id", ["a/b", "x" * 300, "é-ü", "1.2", "%2F", ".."])
async def test_any_message_id_has_its_receipt(world, message_id):
    await push(world, message_id)
    assert await receipt(world, message_id) == "stored"
    await lease(world)
    claim = await take(world)
    await take(world, Done(claim.token, message_id))
    assert await receipt(world, message_id) == "handled"


async def test_messages_are_listed_oldest_first_and_stay_where_they_are(world):
    await push(world, "m1", "m2", "m3")
    await lease(world)
    claim = await take(world)
    listed = await ask(world, ListMessages(QUEUE))
    assert [item.raw for item in listed] == [message("m1"), message("m2"), message("m3")]
    assert [item.state for item in listed] == ["delivered", "stored", "stored"]
    assert await take(world) == claim


async def test_a_message_over_the_limit_is_refused(world):
    with pytest.raises(StoreError):
        await ask(world, PushMessage(QUEUE, "m", b'"' + b"x" * MAX_MESSAGE_BYTES + b'"'))
    assert await ask(world, ListMessages(QUEUE)) == []
