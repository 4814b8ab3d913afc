"""One id in several queues of a bot, before and after it was killed: no repeat goes unmarked."""

import os

import anyio
import msgspec
import pytest

from botvisor import Policy
from botvisor.errors import StoreUnavailable
from botvisor.store import PushMessage, Queue
from botvisor.testing import MemoryStore
from botvisor.wire import LEASE_TTL_S, MAX_TRIES

from .bot_rig import ROOM, Reader, bot_on, own_queue, until

pytestmark = pytest.mark.virtual_time

ROOM_QUEUE = Queue("room", ROOM)


async def push(store, queue, text, message_id):
    raw = msgspec.json.encode({"id": message_id, "message": text})
    await store.execute([PushMessage(queue, message_id, raw)])


async def kill(rig):
    """Let the store see of the bot what it sees of a killed process."""
    rig.link.cut()
    await anyio.sleep(LEASE_TTL_S + 1)


async def test_what_was_handled_in_one_queue_is_not_shown_from_another_by_a_successor():
    store, first, second = MemoryStore(), Reader(), Reader()
    async with bot_on(store, first, room_url=ROOM) as rig:
        await push(store, own_queue(), "hello", "twin")
        await push(store, own_queue(), "wait", "next")
        await first.handling.wait()
        await kill(rig)
        second.go_on.set()
        await push(store, ROOM_QUEUE, "hello", "twin")
        async with bot_on(store, second, room_url=ROOM):
            await push(store, ROOM_QUEUE, "end", "last")
            await until(lambda: "end" in second.texts)
    assert "hello" not in second.texts
    assert store.queue(ROOM_QUEUE).receipt("twin") == "handled"


async def test_what_is_in_flight_in_a_queue_that_cannot_be_served_yet_is_marked_in_another():
    store, first, second = MemoryStore(), Reader(), Reader()
    second.go_on.set()
    async with bot_on(store, first, bot_id="one") as rig:
        await push(store, Queue("bot", str(os.getpid())), "wait", "twin")
        await first.handling.wait()
        rig.link.cut()  # its leases have not run out yet
        await push(store, own_queue("two"), "wait", "twin")
        async with bot_on(store, second, bot_id="two"):
            await until(lambda: second.seen)
    assert [(message.redelivered, message.tries) for message in second.seen] == [(True, 1)]


async def test_what_was_given_up_and_is_sent_again_is_marked():
    store, first, second = MemoryStore(), Reader(bad=MAX_TRIES), Reader()
    async with bot_on(store, first, policy=Policy(restart="transient", intensity=10, period=600)):
        await push(store, own_queue(), "bad", "again")
        await until(lambda: store.queue(own_queue()).receipt("again") == "dead", within=600)
    async with bot_on(store, second):
        await push(store, own_queue(), "bad", "again")
        await until(lambda: second.seen)
    assert second.seen[0].redelivered


async def test_while_a_store_does_not_tell_its_past_what_is_older_than_the_bot_is_marked():
    store, main = MemoryStore(), Reader()
    await push(store, own_queue(), "older", "older")
    async with bot_on(Deaf(store), main, room_url=ROOM):
        await until(lambda: main.seen)
        await anyio.sleep(1)
        await push(store, own_queue(), "newer", "newer")
        await until(lambda: len(main.seen) == 2)
    assert [(message.text, message.redelivered) for message in main.seen] == [
        ("older", True),
        ("newer", False),
    ]


class Deaf:
    """A store whose queue of the room cannot be reached."""

    def __init__(self, store):
        self._store = store

    async def execute(self, commands):
        lost = [getattr(command, "queue", None) == ROOM_QUEUE for command in commands]
        sound = [command for command, gone in zip(commands, lost, strict=True) if not gone]
        answers = iter(await self._store.execute(sound))
        return [StoreUnavailable("the room's store is away") if gone else next(answers) for gone in lost]

    def __getattr__(self, name):
        return getattr(self._store, name)
