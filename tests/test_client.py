"""The operator's side: what it sends, reads and tells, and how it fails."""

import anyio
import pytest

from botvisor import open_bot, open_client
from botvisor.errors import MalformedMessage, NotStored, StoreUnavailable
from botvisor.process import host
from botvisor.testing import crash, fake_bot
from botvisor.wire import MAX_MESSAGE_BYTES

from .fleet import ROOM, settings_in


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


async def take_one(bot):
    async for message in bot.inbox:
        return message
    return None


async def handle_all(bot):
    async for _ in bot.inbox:
        pass


async def hold_one(bot):
    async for _ in bot.inbox:
        await anyio.sleep_forever()


async def test_it_needs_no_bot_and_shares_the_backend_of_those_there_are(settings):
    async with open_client(settings) as client:
        assert await client.heartbeats() == []
        async with open_bot(settings=settings, bot_id="ada") as bot, open_client(settings) as another:
            assert another._backend is client._backend is bot.actors["backend"]
            assert [beat.bot_id for beat in await client.heartbeats()] == ["ada"]


async def test_a_receipt_tells_where_the_message_is(settings):
    async with open_client(settings) as client:
        receipt = await client.send("ada", "hello")
        assert (receipt.target, receipt.state, receipt.where) == ("ada", "stored", f"spool@{host()}")
        assert 0 <= receipt.stored_ms < 5000
        assert receipt.handled_ms is None
        assert len(list(settings.admin_message_dir.glob("admin-ada-*.json"))) == 1


@pytest.mark.virtual_time
async def test_a_message_reaches_the_bot_with_who_sent_it_and_how():
    async with fake_bot(take_one, bot_id="ada") as bot:
        receipt = await bot.client.send(
            "ada", "hello", mode="immediate", sender_id="op-1", sender_name="the operator"
        )
        message = await bot.wait()
    assert (message.id, message.text, message.mode) == (receipt.id, "hello", "immediate")
    assert (message.sender_id, message.sender_name) == ("op-1", "the operator")


@pytest.mark.virtual_time
async def test_a_mapping_is_sent_with_all_its_fields():
    async with fake_bot(take_one, bot_id="ada") as bot:
        await bot.client.send("ada", {"message": "hello", "context": {"page": 7}})
        message = await bot.wait()
    assert (message.text, message.data["context"]) == ("hello", {"page": 7})


@pytest.mark.virtual_time
@pytest.mark.parametrize("url", [ROOM, "HTTPS://EXAMPLE.test/room/?token=x"])
async def test_a_message_to_a_room_reaches_the_bot_that_serves_it_however_its_url_is_written(url):
    async with fake_bot(take_one, room_url=ROOM) as bot:
        assert (await bot.client.send(url, "hello", wait=5)).state == "handled"
        assert (await bot.wait()).room_url == url


@pytest.mark.virtual_time
async def test_a_message_sent_before_its_bot_exists_waits_for_it():
    async with fake_bot(handle_all, bot_id="other") as other:
        receipt = await other.client.send("ada", "hello")
        async with fake_bot(take_one, bot_id="ada", store=other.store) as ada:
            assert (await ada.wait()).id == receipt.id
        assert (await other.client.receipt(receipt)).state == "handled"


@pytest.mark.virtual_time
async def test_waiting_ends_when_the_message_is_handled():
    async with fake_bot(handle_all, bot_id="ada") as bot:
        receipt = await bot.client.send("ada", "hello", wait=60)
        assert receipt.state == "handled"
        assert receipt.stored_ms <= receipt.delivered_ms <= receipt.handled_ms < 1000


@pytest.mark.virtual_time
async def test_waiting_in_vain_tells_how_far_the_message_came():
    async with fake_bot(hold_one, bot_id="ada") as bot:
        began = anyio.current_time()
        receipt = await bot.client.send("ada", "hello", wait=5)
        assert (receipt.state, receipt.handled_ms) == ("delivered", None)
        assert (await bot.client.send("nobody", "hello", wait=5)).state == "stored"
        assert anyio.current_time() - began == pytest.approx(10, abs=0.5)


@pytest.mark.virtual_time
async def test_waiting_ends_when_the_message_is_given_up():
    async def fail(bot):
        async for message in bot.inbox:
            raise ValueError(message.text)

    store = None
    for _ in range(3):
        async with fake_bot(fail, bot_id="ada", store=store) as bot:
            store = store or bot.store
            if not await bot.client.messages("ada"):
                receipt = await bot.client.send("ada", "poison")
            with pytest.raises(ValueError, match="poison"):
                await bot.wait()
    async with fake_bot(handle_all, bot_id="ada", store=store) as bot:
        await anyio.sleep(1)
        assert (await bot.client.receipt(receipt)).state == "dead"
        assert [message.state for message in await bot.client.messages("ada")] == ["dead"]


@pytest.mark.virtual_time
async def test_a_later_receipt_keeps_the_times_that_were_seen():
    async with fake_bot(handle_all, bot_id="ada") as bot:
        receipt = await bot.client.send("ada", "hello")
        await anyio.sleep(5)
        later = await bot.client.receipt(receipt)
        assert (later.state, later.stored_ms, later.handled_ms) == ("handled", receipt.stored_ms, None)


@pytest.mark.virtual_time
async def test_the_wait_survives_a_store_that_goes_away_once_the_message_is_stored():
    async with fake_bot(hold_one, bot_id="ada") as bot:

        async def break_down():
            await anyio.sleep(1)
            bot.store.fail_with(StoreUnavailable("no disk"))

        async with anyio.create_task_group() as group:
            group.start_soon(break_down)
            assert (await bot.client.send("ada", "hello", wait=30)).state == "delivered"
        bot.store.heal()


@pytest.mark.virtual_time
async def test_what_no_store_took_was_not_sent():
    async with fake_bot(handle_all, bot_id="ada") as bot:
        bot.store.fail_with(StoreUnavailable("no disk"))
        with pytest.raises(NotStored, match="the message for ada was not sent: no disk"):
            await bot.client.send("ada", "hello")
        bot.store.hang()
        began = anyio.current_time()
        with pytest.raises(NotStored):
            await bot.client.send("ada", "hello")
        assert anyio.current_time() - began <= 5
        bot.store.heal()


@pytest.mark.virtual_time
async def test_a_backend_that_crashed_or_stopped_is_a_store_that_is_unavailable():
    async with fake_bot(handle_all, bot_id="ada") as bot:
        crash(bot.bot, "backend")
        with pytest.raises(StoreUnavailable, match="backend crashed"):
            await bot.client.heartbeats()
        assert await bot.client.heartbeats()  # it waits through the restart
    with pytest.raises(StoreUnavailable, match="backend is stopped"):
        await bot.client.heartbeats()
    with pytest.raises(NotStored, match="backend is stopped"):
        await bot.client.send("ada", "hello")


async def test_a_spool_that_cannot_be_written_is_told(settings):
    async with open_client(settings) as client:
        await client.send("ada", "hello")
        settings.admin_message_dir.chmod(0o777)
        with pytest.raises(NotStored, match="chmod 700"):
            await client.send("ada", "hello")
        settings.admin_message_dir.chmod(0o700)


@pytest.mark.virtual_time
@pytest.mark.parametrize("target", ["", "a b", "ada\n", "x" * 129])
async def test_a_target_that_is_neither_a_bot_nor_a_room_is_refused(target):
    async with fake_bot(handle_all) as bot:
        with pytest.raises(ValueError, match="neither a bot's id"):
            await bot.client.send(target, "hello")
        with pytest.raises(ValueError, match="neither a bot's id"):
            await bot.client.messages(target)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ("", "no text"),
        ("x" * MAX_MESSAGE_BYTES, "bytes, more than"),
        ({"message": object()}, "cannot be written as JSON"),
        ({"message": "hello", "id": ["not", "an", "id"]}, "its id is neither"),
    ],
)
async def test_what_no_bot_could_read_is_refused_before_it_is_sent(payload, problem):
    async with fake_bot(handle_all, bot_id="ada") as bot:
        with pytest.raises(MalformedMessage, match=problem):
            await bot.client.send("ada", payload)
        assert await bot.client.messages("ada") == []


@pytest.mark.virtual_time
async def test_a_heartbeat_tells_how_a_bot_is():
    async with fake_bot(handle_all, bot_id="ada", room_url=ROOM) as bot:
        bot.bot.participants.add("user1")
        await anyio.sleep(1)
        beat = await bot.client.heartbeat("ada")
        assert (beat.bot_id, beat.room_url, beat.participants, beat.status) == (
            "ada",
            ROOM,
            ("user1",),
            "healthy",
        )
        assert await bot.client.heartbeat("nobody") is None
        with pytest.raises(ValueError, match="a bot id is"):
            await bot.client.heartbeat("a b")


@pytest.mark.virtual_time
async def test_identities_of_a_room_can_be_read_from_outside():
    async def main(bot):
        await bot.identities.write("user1", {"sessionUserName": "John"})

    async with fake_bot(main, room_url=ROOM) as bot:
        await bot.wait()
        assert [one["sessionUserName"] for one in await bot.client.identities(ROOM)] == ["John"]


@pytest.mark.virtual_time
async def test_what_waits_can_be_looked_at_without_taking_it():
    async with fake_bot(hold_one, bot_id="ada") as bot:
        for text in ("first", "second"):
            await bot.client.send("ada", text)
        await anyio.sleep(1)
        for _ in range(2):
            found = await bot.client.messages("ada")
            assert [(message.state, message.tries) for message in found] == [("delivered", 1), ("stored", 0)]


@pytest.mark.virtual_time
async def test_a_control_command_restarts_an_actor_and_main_never_sees_it():
    async with fake_bot(take_one, bot_id="ada") as bot:
        await bot.client.control("ada", "restart", actor="heartbeat")
        await anyio.sleep(1)
        assert (await bot.client.heartbeat("ada")).health["restarts"] == 0  # its budget is not charged
        await bot.client.control("ada", "restart", actor="no-such-actor")
        await bot.client.control("ada", "stop")
        assert await bot.wait() is None


@pytest.mark.virtual_time
async def test_a_control_command_that_nobody_knows_is_refused():
    async with fake_bot(take_one, bot_id="ada") as bot:
        with pytest.raises(ValueError, match="explode"):
            await bot.client.control("ada", "explode")
        with pytest.raises(ValueError, match="a bot id is"):
            await bot.client.control("a b", "stop")
        bot.store.fail_with(StoreUnavailable("no disk"))
        with pytest.raises(NotStored, match="no disk"):
            await bot.client.control("ada", "stop")


async def test_an_error_in_the_block_of_a_client_comes_out_bare(settings):
    error = ValueError("boom")

    async def fail():
        async with open_client(settings):
            raise error

    with pytest.raises(ValueError, match="boom") as caught:
        await fail()
    assert caught.value is error
