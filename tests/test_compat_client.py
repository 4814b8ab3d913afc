"""The guide's asynchronous client: every function, on Redis and on files, on its callers' own loop."""

import os
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from botvisor import open_bot, open_client
from botvisor.compat.redis_client import check_redis_available, get_redis_client
from botvisor.compat.redis_heartbeat_migration import write_heartbeat_file
from botvisor.config import load_settings
from botvisor.errors import MalformedMessage, NotStored, SettingsError, StoreUnavailable

from . import compat_rig, redis_server
from .bot_rig import logged

servers = redis_server.servers
branch = compat_rig.branch
on_redis = compat_rig.on_redis
on_files = compat_rig.on_files

ROOM = "https://example.test/room"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


@pytest.fixture
async def client(branch):
    client = await get_redis_client()
    yield client
    await client.close()


async def test_a_heartbeat_is_sent_and_read(client, branch):
    with logged() as lines:
        await client.send_heartbeat(12345, ROOM, ["user1", "user2"])
    assert lines == [f"INFO [{branch.bracket}-heartbeat] Sent heartbeat for bot 12345"]
    found = await client.get_heartbeat(12345)
    assert list(found) == ["pid", "room_url", "participants", "timestamp"]
    assert (found["pid"], found["room_url"], found["participants"]) == (12345, ROOM, ["user1", "user2"])
    assert await client.get_heartbeat("12345") == found
    assert await client.get_heartbeat(54321) is None


async def test_an_older_program_reads_a_heartbeat_and_it_expires(on_redis):
    client = await get_redis_client()
    await client.send_heartbeat(12345, ROOM, ["user1"])
    fields = on_redis.redis.hgetall("heartbeat:12345")
    assert (fields[b"pid"], fields[b"room_url"], fields[b"participants"]) == (
        b"12345",
        ROOM.encode(),
        b'["user1"]',
    )
    assert fields[b"timestamp"].startswith(b"20")
    assert 28 <= on_redis.redis.ttl("heartbeat:12345") <= 30
    on_redis.redis.delete("heartbeat:12345")
    assert await client.get_heartbeat(12345) is None  # the index still knows that there was one
    await client.close()


async def test_a_heartbeat_on_file_expires_too(on_files):
    client = await get_redis_client()
    await client.send_heartbeat(12345, ROOM, [])
    (file,) = (on_files.folder / "heartbeat").glob("12345.json")
    file.write_text(file.read_text().replace('"timestamp":"20', '"timestamp":"19'))
    assert await client.get_heartbeat(12345) is None
    await client.close()


async def test_a_heartbeat_that_was_left_on_file_is_not_taken_for_one_on_redis(on_redis):
    written = datetime.now(UTC) - timedelta(seconds=40)
    place = on_redis.folder / "heartbeat"
    place.mkdir(mode=0o700)
    (place / "12345.json").write_text(
        f'{{"pid":12345,"room_url":"{ROOM}","participants":[],"timestamp":"{written.isoformat()}"}}'
    )
    client = await get_redis_client()
    assert await client.get_heartbeat(12345) is None  # its bot fell back to files, and was killed there
    write_heartbeat_file(12345, ROOM, [])
    assert (await client.get_heartbeat(12345))["pid"] == 12345
    await client.close()


async def test_a_bot_under_an_id_has_the_pid_of_its_process(client):
    await client.send_heartbeat("ada", ROOM, [])
    assert (await client.get_heartbeat("ada"))["pid"] == os.getpid()


async def test_a_bot_of_ours_is_seen_and_when_it_has_stopped_no_more(client):
    async with open_bot(bot_id="ada", room_url=ROOM) as bot:
        bot.participants.add("ann")
        with anyio.fail_after(5):
            while (await client.get_heartbeat("ada"))["participants"] != ["ann"]:
                await anyio.sleep(0.01)
    assert await client.get_heartbeat("ada") is None


async def test_whoever_sends_again_after_a_stop_lives_again(client):
    async with open_bot(bot_id="ada", room_url=ROOM):
        pass
    await client.send_heartbeat("ada", ROOM, [])
    assert (await client.get_heartbeat("ada"))["room_url"] == ROOM


async def test_identities_are_written_read_and_scanned(client, branch):
    with logged() as lines:
        await client.write_identity(ROOM, "user1", {"name": "John", "room_url": "forged"})
    assert lines == [f"INFO [{branch.bracket}-identity] Stored identity for participant user1"]
    await client.write_identity(ROOM, "user2", {"name": "Jane"})
    await client.write_identity(f"{ROOM}2", "user3", {"name": "Jim"})
    found = await client.read_identity(ROOM, "user1")
    assert (found["name"], found["participant_id"], found["room_url"]) == ("John", "user1", ROOM)
    assert await client.read_identity(ROOM, "user3") is None
    assert [each["name"] for each in await client.scan_identities(ROOM)] == ["John", "Jane"]
    if branch.on_redis:
        assert 86_390 <= branch.redis.ttl(f"identity:{ROOM}:user1") <= 86_400


async def test_cleaning_up_counts_dangling_entries_and_puts_older_ones_in_order(on_redis):
    client = await get_redis_client()
    await client.write_identity(ROOM, "gone", {})
    on_redis.redis.delete(f"identity:{ROOM}:gone")
    fields = {"participant_id": "old", "room_url": ROOM, "timestamp": "2026-01-01", "data": '{"name": "Old"}'}
    on_redis.redis.hset(f"identity:{ROOM}:old", mapping=fields)
    assert await client.cleanup_expired_identities(ROOM) == 1
    assert 86_390 <= on_redis.redis.ttl(f"identity:{ROOM}:old") <= 86_400
    assert on_redis.redis.zrange(f"identity-index:{ROOM}", 0, -1) == [b"old"]
    await client.close()


async def test_cleaning_up_a_room_without_leftovers_removes_nothing(client):
    await client.write_identity(ROOM, "user1", {})
    assert await client.cleanup_expired_identities(ROOM) == 0
    assert len(await client.scan_identities(ROOM)) == 1


async def test_a_message_reaches_a_bot(client, branch):
    async with open_bot(bot_id="12345") as bot:
        with logged() as lines:
            await client.send_admin_message(12345, "Hello bot!")
        assert f"INFO [{branch.bracket}-admin] Sent admin message to bot 12345 via {branch.word}" in lines
        message = await anext(bot.inbox)
        assert (message.text, message.redelivered) == ("Hello bot!", False)


async def test_a_message_to_a_room_reaches_the_bot_that_serves_it(client):
    async with open_bot(bot_id="ada", room_url=ROOM) as bot:
        await client.send_admin_message(f"{ROOM}/", {"prompt": "hi", "senderId": 7, "senderName": "Ann"})
        message = await anext(bot.inbox)
        assert (message.text, message.sender_id, message.sender_name) == ("hi", "7", "Ann")
        # Older bots look for a message from Redis under these names.
        assert (message.data["message"], message.data["sender_id"]) == ("hi", 7)


async def test_the_operators_client_has_the_same_line(branch):
    async with open_client() as client:
        with logged() as lines:
            await client.send("12345", "hi")
    assert lines[-1].endswith(f"Sent admin message to bot 12345 via {branch.word}")


@pytest.mark.parametrize(
    ("bot", "message", "error"),
    [
        (12345, "", MalformedMessage),
        (12345, {"message": float("nan"), "x": object()}, MalformedMessage),
        (12345, 7, TypeError),
        (1.5, "hi", TypeError),
        (True, "hi", TypeError),
        ("no id", "hi", ValueError),
    ],
)
async def test_what_cannot_be_sent_is_refused(on_files, bot, message, error):
    client = await get_redis_client()
    with pytest.raises(error):
        await client.send_admin_message(bot, message)
    await client.close()


@pytest.mark.parametrize(
    ("room_url", "participants"), [(None, []), (ROOM, "user1"), (ROOM, [1]), (ROOM, None), ("\ud800", [])]
)
async def test_a_heartbeat_that_nobody_could_read_is_refused(on_files, room_url, participants):
    client = await get_redis_client()
    with pytest.raises((TypeError, ValueError)):
        await client.send_heartbeat(12345, room_url, participants)
    assert await client.get_heartbeat(12345) is None
    await client.close()


async def test_whether_redis_is_available(branch):
    assert await check_redis_available() is branch.on_redis
    client = await get_redis_client()
    assert await client.ping() is branch.on_redis
    if branch.on_redis:
        branch.server.kill()
        assert await check_redis_available() is False
        assert await client.ping() is False
    await client.close()


async def test_when_redis_goes_everything_goes_on_over_files_and_that_is_said_once(on_redis):
    client = await get_redis_client()
    await client.send_heartbeat(12345, ROOM, [])
    on_redis.server.kill()
    with logged() as lines:
        for number in range(3):
            await client.send_heartbeat(12345, ROOM, [str(number)])
            await client.write_identity(ROOM, "user1", {"name": str(number)})
            await client.send_admin_message(12345, str(number))
    assert len([line for line in lines if line.endswith(" - falling back to files")]) == 1
    assert "INFO [file-admin] Sent admin message to bot 12345 via files" in lines
    assert (await client.get_heartbeat(12345))["participants"] == ["2"]
    assert (await client.read_identity(ROOM, "user1"))["name"] == "2"
    assert [each["message"] for each in await client.get_admin_messages(12345)] == ["0", "1", "2"]
    await client.close()


async def test_without_files_nothing_is_said_to_be_stored(on_redis, monkeypatch):
    monkeypatch.setenv("BOT_FILE_FALLBACK", "false")
    client = await get_redis_client()
    on_redis.server.kill()
    with pytest.raises(NotStored):
        await client.send_admin_message(12345, "hi")
    with pytest.raises(StoreUnavailable):
        await client.send_heartbeat(12345, ROOM, [])
    await client.close()


async def test_a_loop_has_one_client_until_it_is_closed(branch):
    async with anyio.create_task_group() as group:
        found = []

        async def get():
            found.append(await get_redis_client())

        for _ in range(5):
            group.start_soon(get)
    assert len(set(map(id, found))) == 1
    client = found[0]
    await client.close()
    await client.close()
    with pytest.raises(StoreUnavailable, match="get_redis_client"):
        await client.get_heartbeat(1)
    assert await client.ping() is False
    another = await get_redis_client()
    assert another is not client
    await another.send_heartbeat(1, ROOM, [])
    await another.close()


async def test_the_environment_is_read_each_time(on_redis, monkeypatch):
    client = await get_redis_client()
    monkeypatch.setenv("USE_REDIS", "false")
    other = await get_redis_client()
    assert (await client.ping(), await other.ping()) == (True, False)
    monkeypatch.setenv("USE_REDIS", "perhaps")
    with pytest.raises(SettingsError, match="USE_REDIS"):
        await get_redis_client()
    await client.close()
    await other.close()


async def test_it_shares_the_backend_with_the_bots_of_its_loop(on_files):
    async with open_bot(bot_id="ada", settings=load_settings()) as bot:
        client = await get_redis_client()
        assert client._backend is bot.actors["backend"]
        await client.close()
        assert bot.status == "healthy"
