"""Broadcasts by a client: who hears them, and that nobody does without Redis."""

import pytest

from botvisor.errors import MalformedMessage, NotStored, StoreUnavailable
from botvisor.testing import fake_bot

from . import redis_bots, redis_server
from .bot_rig import until
from .fleet import settings_in
from .redis_bots import process, until_seen

servers = redis_server.servers
place = redis_bots.place


async def take_one(bot):
    async for message in bot.inbox:
        return message
    return None


@pytest.mark.virtual_time
async def test_every_bot_that_listens_hears_it_and_no_queue_holds_it():
    async with fake_bot(take_one, bot_id="ada") as ada:
        heard = await ada.client.broadcast(
            {"message": "all of you", "context": 7}, mode="immediate", sender_id="op-1", sender_name="Ann"
        )
        message = await ada.wait()
        assert await ada.client.messages("ada") == []
    assert heard == 1
    assert (message.text, message.mode, message.data["context"]) == ("all of you", "immediate", 7)
    assert (message.sender_id, message.sender_name, message.source) == ("op-1", "Ann", "broadcast")


@pytest.mark.virtual_time
async def test_what_cannot_be_sent_is_told():
    async with fake_bot(take_one) as bot:
        with pytest.raises(MalformedMessage, match="no text"):
            await bot.client.broadcast("")
        bot.store.fail_with(StoreUnavailable("no disk"))
        with pytest.raises(NotStored, match="the message for every bot was not sent: no disk"):
            await bot.client.broadcast("hello")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_it_tells_how_many_connections_got_it(place):
    async with process(place.settings()) as one, process(place.settings()) as two:
        assert await one.client.broadcast("nobody is here") == 0
        ada, bea = await one.start(bot_id="ada"), await one.start(bot_id="bea")
        eve = await two.start(bot_id="eve")
        await until(lambda: place.redis.pubsub_numsub("admin:broadcast")[0][1] == 2)
        assert await one.client.broadcast("to all") == 2
        for bot in (ada, bea, eve):
            await until_seen(bot, "to all")
        place.server.kill()
        with pytest.raises(NotStored, match="needs Redis"):
            await one.client.broadcast("too late")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_on_files_nobody_can_be_told(tmp_path):
    async with process(settings_in(tmp_path)) as fleet:
        with pytest.raises(NotStored, match="a broadcast needs Redis: on files nobody listens"):
            await fleet.client.broadcast("hello")
