"""Durable sends end to end: what survives a Redis that loses its memory, and a sender that dies."""

import signal

import anyio
import pytest

from botvisor import Client
from botvisor.errors import NotStored

from . import processes, redis_bots, redis_server, two_loops
from .bot_rig import until
from .fleet import settings_in
from .redis_bots import attentive, kept_copies, process, until_seen

servers = redis_server.servers
scripts = processes.scripts
anyio_backend = two_loops.anyio_backend
place = redis_bots.place

KILLED = """
    async def main():
        async with open_client() as client:
            receipt = await client.send("ada", "do not forget", durable=True)
            print("sent", receipt.id, receipt.where, flush=True)
            await anyio.sleep_forever()

    anyio.run(main)
"""


def kept(place):
    """The ids of the messages that this host keeps a copy of."""
    return kept_copies(place.folder)


async def test_a_redis_that_lost_its_memory_before_the_bot_read_gets_the_message_again(place):
    async with attentive(place.settings(), forward_every_s=0.2) as sender:
        receipt = await sender.client.send("ada", "do not forget", durable=True)
        assert (receipt.state, receipt.where) == ("stored", "redis")
        await place.server.restart()
        assert place.redis.dbsize() == 0
        async with process(place.settings(folder=place.folder / "elsewhere")) as other:
            bot = await other.start()
            (message,) = await until_seen(bot, "do not forget")
            assert (message.id, message.redelivered, message.tries) == (receipt.id, True, 1)
            await until(lambda: kept(place) == [], 20)
            assert (await sender.client.receipt(receipt)).state == "handled"
            await sender.client.send("ada", "end", wait=10)
            assert bot.reader.texts == ["do not forget", "end"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_message_that_was_handled_is_not_repeated_by_a_redis_that_forgot_it(place):
    async with attentive(place.settings()) as fleet:
        bot = await fleet.start()
        await fleet.client.send("ada", "wait", durable=True)
        await bot.reader.handling.wait()
        place.redis.flushall()
        await until(lambda: place.redis.llen("admin:queue:ada") == 1, 20)  # sent again while the bot is at it
        bot.reader.go_on.set()
        await until(lambda: kept(place) == [], 20)
        assert bot.reader.texts == ["wait"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_next_client_sends_again_what_a_killed_one_had_sent(place, scripts):
    killed = scripts.start(KILLED, **place.variables())
    said = await anyio.to_thread.run_sync(killed.says, "sent")
    async with attentive(place.settings(), forward_every_s=1.5) as heir:
        place.redis.flushall()
        await anyio.sleep(0.5)
        assert place.redis.dbsize() == 0  # its sender lives
        killed.send(signal.SIGKILL)
        bot = await heir.start()
        (message,) = await until_seen(bot, "do not forget")
        assert (said, message.redelivered) == (f"sent {message.id} redis", True)
        await until(lambda: kept(place) == [], 20)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_client_that_closed_leaves_its_copies_to_the_next(place):
    async with process(place.settings()) as sender:
        receipt = await sender.client.send("ada", "do not forget", durable=True)
    place.redis.flushall()
    assert kept(place) == [receipt.id]
    async with attentive(place.settings(), forward_every_s=0.2) as heir:
        assert [message.id for message in await until_seen(await heir.start(), "do not forget")] == [
            receipt.id
        ]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_no_store_took_is_not_sent_later(place):
    settings = place.settings()
    async with attentive(settings) as sender:
        one_shot = Client(
            sender.supervisor.backend, settings, sender.supervisor.log,
            outbox=sender.supervisor.outbox, one_shot=True,
        )  # fmt: skip
        place.server.kill()
        with pytest.raises(NotStored):
            await one_shot.send("ada", "nobody serves it here", durable=True)
        assert kept(place) == place.spooled() == []
        await place.server.start()
        await sender.until_on("redis")
        await anyio.sleep(0.5)
        assert place.redis.keys("admin:queue:*") == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_without_files_nothing_can_be_durable_and_nothing_is_sent(place):
    async with process(place.settings(file_fallback=False)) as sender:
        with pytest.raises(NotStored, match="BOT_FILE_FALLBACK is off"):
            await sender.client.send("ada", "do not forget", durable=True)
        assert place.redis.dbsize() == 0
        assert (await sender.client.send("ada", "hello")).where == "redis"
        assert list(place.folder.iterdir()) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_files_alone_every_message_is_durable(tmp_path):
    async with process(settings_in(tmp_path)) as fleet:
        await fleet.client.send("ada", "hello", durable=True)
        assert len(list((tmp_path / "admin_message").glob("admin-ada-*.json"))) == 1
        assert not (tmp_path / "admin_message" / "outbox").exists()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_wait_goes_on_while_redis_goes_away_and_comes_back(place):
    async with attentive(place.settings()) as fleet:
        bot = await fleet.start()
        receipts = []

        async def send():
            receipts.append(await fleet.client.send("ada", "wait", wait=30, durable=True))

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            await bot.reader.handling.wait()
            place.server.kill()
            await fleet.until_on("file")
            bot.reader.go_on.set()
            await anyio.sleep(0.3)
            assert receipts == []
            await place.server.start()
        assert [(receipt.state, receipt.where) for receipt in receipts] == [("handled", "redis")]
        assert bot.reader.texts == ["wait"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_wait_sees_what_was_sent_and_handled_on_files_meanwhile(place):
    async with attentive(place.settings()) as fleet:
        bot = await fleet.start()
        place.server.kill()
        receipt = await fleet.client.send("ada", "hello", wait=20, durable=True)
        assert receipt.state == "handled"
        assert receipt.where.startswith("spool@")
        await place.server.start()
        await until(lambda: kept(place) == [], 20)
        assert bot.reader.texts == ["hello"]
        assert place.redis.llen("admin:queue:ada") == 0
