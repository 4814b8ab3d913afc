import asyncio

import anyio
import pytest

from botvisor.envelope import Envelope, Fate, Reply
from botvisor.errors import ActorStopped, MailboxFull
from botvisor.mailbox import Mailbox
from botvisor.testing.clock import virtual_time

pytestmark = pytest.mark.virtual_time


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


@pytest.fixture
def mailbox():
    mailbox = Mailbox("actor", 3)
    yield mailbox
    mailbox.empty()
    mailbox.dispose()


def letter(message, *, reply=None, sent_at=0.0):
    return Envelope(message, reply, sent_at)


def taken(mailbox):
    messages = []
    while (envelope := mailbox.take()) is not None:
        messages.append(envelope.message)
    return messages


def test_messages_come_out_in_the_order_they_went_in(mailbox):
    for message in "abc":
        mailbox.put(letter(message))
    assert taken(mailbox) == ["a", "b", "c"]


def test_a_full_mailbox_refuses_the_message_and_does_not_count_it(mailbox):
    for message in "abc":
        mailbox.put(letter(message))
    with pytest.raises(MailboxFull, match="actor"):
        mailbox.put(letter("d"))
    assert mailbox.taken_in == 3
    assert taken(mailbox) == ["a", "b", "c"]


def test_a_closed_mailbox_takes_nothing_in_but_still_gives_out(mailbox):
    mailbox.put(letter("a"))
    mailbox.close()
    with pytest.raises(ActorStopped, match="actor"):
        mailbox.put(letter("b"))
    assert taken(mailbox) == ["a"]


def test_the_actor_itself_may_write_to_a_closed_mailbox(mailbox):
    mailbox.close()
    mailbox.put(letter("own"), own=True)
    assert taken(mailbox) == ["own"]


def test_a_reopened_mailbox_takes_messages_again(mailbox):
    mailbox.close()
    mailbox.reopen()
    mailbox.put(letter("a"))
    assert taken(mailbox) == ["a"]


def test_a_disposed_mailbox_stays_closed(mailbox):
    mailbox.dispose()
    mailbox.reopen()
    for own in (False, True):
        with pytest.raises(ActorStopped):
            mailbox.put(letter("a"), own=own)


def test_what_is_put_back_comes_out_first_and_is_counted_again(mailbox):
    for message in "ab":
        mailbox.put(letter(message))
    first = mailbox.take()
    mailbox.put_back(first)
    assert mailbox.take() is first
    assert first.deliveries == 2
    assert taken(mailbox) == ["b"]


def test_a_full_mailbox_takes_back_what_it_gave_out(mailbox):
    for message in "abc":
        mailbox.put(letter(message))
    first = mailbox.take()
    mailbox.put(letter("d"))
    mailbox.put_back(first)
    assert taken(mailbox) == ["a", "b", "c", "d"]


def test_a_message_has_one_fate(mailbox):
    mailbox.put(letter("a"))
    envelope = mailbox.take()
    mailbox.settle(envelope, Fate.HANDLED)
    with pytest.raises(RuntimeError, match="was handled, and now crashed"):
        mailbox.settle(envelope, Fate.CRASHED)
    assert mailbox.fates == {Fate.HANDLED: 1}


async def test_emptying_makes_each_message_a_dead_letter_once(mailbox):
    reply = Reply("actor", 1)
    mailbox.put(letter("told"))
    mailbox.put(letter("asked", reply=reply))
    mailbox.put_back(mailbox.take())
    assert [e.message for e in mailbox.empty()] == ["told", "asked"]
    assert mailbox.empty() == []
    assert mailbox.fates == {Fate.DEAD_LETTERED: 2}
    with pytest.raises(ActorStopped):
        await reply.wait()


def test_length_and_age_count_what_was_put_back_too(mailbox):
    assert (len(mailbox), mailbox.oldest_s(50.0)) == (0, 0.0)
    mailbox.put(letter("a", sent_at=10.0))
    mailbox.put(letter("b", sent_at=20.0))
    assert (len(mailbox), mailbox.oldest_s(50.0)) == (2, 40.0)
    first = mailbox.take()
    assert (len(mailbox), mailbox.oldest_s(50.0)) == (1, 30.0)
    mailbox.put_back(first)
    assert (len(mailbox), mailbox.oldest_s(50.0)) == (2, 40.0)


async def test_a_wait_ends_at_once_when_something_waits(mailbox):
    mailbox.put(letter("a"))
    with anyio.fail_after(1):
        await mailbox.wait()


@pytest.mark.parametrize("wake", ["put", "wake"])
async def test_a_wait_ends_when_something_comes_or_somebody_wakes_it(mailbox, wake):
    with anyio.fail_after(1):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await idle()
            if wake == "put":
                mailbox.put(letter("a"))
            else:
                mailbox.wake()


@pytest.mark.parametrize("anyio_backend", [virtual_time("asyncio"), virtual_time("uvloop")])
@pytest.mark.parametrize("cancel_first", [False, True])
async def test_a_reader_cancelled_natively_as_a_message_arrives_loses_nothing(mailbox, cancel_first):
    reader = asyncio.ensure_future(mailbox.wait())
    await idle()
    if cancel_first:
        reader.cancel()
    mailbox.put(letter("a"))
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert taken(mailbox) == ["a"]
