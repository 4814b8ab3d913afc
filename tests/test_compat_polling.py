"""The polling loop: messages are handed on as they come, and are done when `process` has returned."""

import asyncio
import time
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor import open_bot, open_client
from botvisor.compat.redis_admin_migration import get_admin_message_polling_loop, get_write_admin_message
from botvisor.errors import QueueTaken
from botvisor.wire import owner_key, prespawn_queue, proc_key

from . import compat_rig, redis_server
from .bot_rig import logged, until
from .processes import Scripts

servers = redis_server.servers
on_redis = compat_rig.on_redis

ROOM = "https://example.test/room"

POLLS = """
from botvisor.compat.redis_admin_migration import get_admin_message_polling_loop

async def process(event):
    print("took", event["prompt"])
    {then}

anyio.run(get_admin_message_polling_loop(), 99, process)
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


class Processed:
    """What the loop handed on; it fails on each text as often as it is told to."""

    def __init__(self, **failures):
        self.failures = failures
        self.events = []
        self.times = []

    async def __call__(self, event):
        self.times.append(time.monotonic())
        self.events.append(event)
        if self.failures.get(event["prompt"], 0) > 0:
            self.failures[event["prompt"]] -= 1
            raise ValueError(event["prompt"])
        if event["prompt"] == "wait":
            await anyio.sleep_forever()

    @property
    def prompts(self):
        return [event["prompt"] for event in self.events]


@asynccontextmanager
async def polling(processed, key=99, **options):
    # A getter blocks while Redis is asked for the first time.
    loop = get_admin_message_polling_loop()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: loop(key, processed, **options))
        yield processed
        group.cancel_scope.cancel()


async def test_an_event_has_the_fields_of_the_file_form_and_all_others(on_redis):
    async with polling(Processed()) as processed:
        get_write_admin_message()(
            99,
            {
                "prompt": "hi",
                "senderId": "7",
                "senderName": "Ann",
                "mode": "direct",
                "timestamp": 5,
                "x": [1],
            },
        )
        await until(lambda: processed.events, 5)
        on_redis.send(99, id="g1", message="from a gateway", sender_name="Bob", room_url=ROOM)
        await until(lambda: len(processed.events) == 2, 5)
    first, second = processed.events
    expected = {
        "prompt": "hi",
        "senderId": "7",
        "senderName": "Ann",
        "mode": "immediate",
        "timestamp": 5,
        "x": [1],
    }
    assert expected.items() <= first.items()
    assert (first["room_url"], first["redelivered"], first["tries"]) == ("", False, 1)
    assert (second["id"], second["prompt"], second["senderName"]) == ("g1", "from a gateway", "Bob")
    assert (second["message"], second["room_url"], second["mode"]) == ("from a gateway", ROOM, "queued")
    assert second["timestamp"].startswith("20")


async def test_a_message_comes_within_milliseconds(on_redis):
    async with polling(Processed()) as processed:
        write = get_write_admin_message()
        await until(lambda: on_redis.redis.exists(owner_key("admin:queue:99")), 5)
        await anyio.sleep(0.2)
        took = []
        for number in range(5):
            began = time.monotonic()
            await anyio.to_thread.run_sync(write, 99, {"prompt": str(number)})
            await until(lambda number=number: len(processed.events) > number, 5)
            took.append(processed.times[-1] - began)
    assert sorted(took)[2] < 0.1


async def test_a_message_is_done_when_process_has_returned(on_redis):
    async with polling(Processed()) as processed, open_client() as client:
        receipt = await client.send("99", "hi", wait=5)
        assert receipt.state == "handled"
        assert processed.prompts == ["hi"]


async def test_the_room_is_served_too(on_redis):
    on_redis.redis.rpush(prespawn_queue(ROOM), '{"message": "early"}')
    async with polling(Processed(), room_url=f"{ROOM}/") as processed, open_client() as client:
        assert (await client.send(ROOM, "hi", wait=5)).state == "handled"
        await until(lambda: sorted(processed.prompts) == ["early", "hi"], 5)
        assert {event["room_url"] for event in processed.events} == {ROOM, f"{ROOM}/"}


async def test_a_room_can_be_the_key(on_redis):
    async with polling(Processed(), key=ROOM) as processed, open_client() as client:
        assert (await client.send(ROOM, "hi", wait=5)).state == "handled"
        assert processed.prompts == ["hi"]


async def test_what_process_fails_on_comes_again_and_the_loop_goes_on(on_redis):
    with logged() as lines:
        async with polling(Processed(once=1, always=9)) as processed, open_client() as client:
            for text in ("once", "always", "good"):
                await client.send("99", text)
            await until(lambda: "good" in processed.prompts, 5)
            assert processed.prompts == ["once", "once", "always", "always", "always", "good"]
            assert [event["redelivered"] for event in processed.events[:2]] == [False, True]
            assert [event["tries"] for event in processed.events[2:5]] == [1, 2, 3]
            (dead,) = [each for each in await client.messages("99") if each.state == "dead"]
            assert b"always" in dead.raw
    assert len([line for line in lines if "was not handled: ValueError: always" in line]) == 3


async def test_cancelling_it_leaves_the_message(on_redis):
    async with polling(Processed()) as processed, open_client() as client:
        await client.send("99", "wait")
        await until(lambda: processed.prompts == ["wait"], 5)
    assert not on_redis.redis.exists(owner_key("admin:queue:99"))
    async with open_bot(bot_id="99") as bot:
        with anyio.fail_after(5):
            message = await anext(bot.inbox)
        assert (message.text, message.redelivered) == ("wait", True)


async def test_cancelling_it_between_two_messages_leaves_nothing(on_redis):
    async with open_client() as client:
        async with polling(Processed()) as processed:
            receipt = await client.send("99", "hi")
            await until(lambda: processed.prompts == ["hi"], 5)
        assert (await client.receipt(receipt)).state == "handled"
        assert not on_redis.redis.exists(proc_key("admin:queue:99"))


async def test_a_live_bot_keeps_its_queue(on_redis):
    loop = get_admin_message_polling_loop()
    async with open_bot(bot_id="99"):
        with pytest.raises(QueueTaken, match="bot 99 go to"):
            await loop(99, Processed())
    async with polling(Processed(), key="99") as processed, open_client() as client:
        assert (await client.send("99", "hi", wait=5)).state == "handled"
        with pytest.raises(QueueTaken):
            await loop(99, processed)


async def test_it_goes_on_while_redis_is_away(on_redis):
    async with polling(Processed()) as processed, open_client() as client:
        await client.send("99", "before")
        await until(lambda: processed.prompts == ["before"], 5)
        on_redis.server.kill()
        receipt = await client.send("99", "meanwhile")
        assert receipt.where.startswith("spool@")
        await until(lambda: processed.prompts == ["before", "meanwhile"], 10)


@pytest.mark.parametrize("then", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_a_crash_in_process_leaves_the_message(on_redis, then):
    async with open_client() as client:
        await client.send("99", "hi")
    with Scripts(on_redis.folder) as scripts:
        program = scripts.start(POLLS.format(then=then), **on_redis.variables())
        program.says("took hi")
        await anyio.to_thread.run_sync(program.ends)
    async with polling(Processed()) as processed:
        await until(lambda: processed.events, 5)
    assert [(event["prompt"], event["redelivered"]) for event in processed.events] == [("hi", True)]


async def test_a_task_that_asyncio_cancels_ends_as_cancelled(on_redis, anyio_backend):
    if anyio_backend == "trio":
        pytest.skip("it is asyncio's way")
    task = asyncio.create_task(get_admin_message_polling_loop()(99, Processed()))
    await until(lambda: on_redis.redis.exists(owner_key("admin:queue:99")), 5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not on_redis.redis.exists(owner_key("admin:queue:99"))
