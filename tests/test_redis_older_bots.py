"""Our bots beside programs that know nothing of us: plain redis-py, and files that are written in place."""

import hashlib
import json
import os

import anyio
import anyio.lowlevel
import pytest

from . import redis_bots, redis_server
from .bot_rig import until
from .redis_bots import ROOM, process, takes_at_most, until_seen

servers = redis_server.servers
place = redis_bots.place

RAW_ROOM = "HTTPS://Example.test:443/room/"
PID = str(os.getpid())
KEYS = {"pid": PID, "id": "ada", "room": ROOM, "raw room": RAW_ROOM, "pre-spawn": f"pre-spawn:{ROOM}"}


@pytest.fixture
def anyio_backend():
    return "asyncio"


class OlderBot:
    """A bot of before: it takes from its list, and tells of itself and of who is there."""

    def __init__(self, client, key="99"):
        self.client = client
        self.key = key
        self.bell = client.pubsub(ignore_subscribe_messages=True)
        self.bell.subscribe(f"admin:bot:{key}")
        self.bell.get_message(timeout=5)

    def receive(self):
        raw = self.client.lpop(f"admin:queue:{self.key}")
        return json.loads(raw) if raw is not None else None

    def heard(self):
        return json.loads(self.bell.get_message(timeout=5)["data"])

    def beat(self):
        fields = {"pid": self.key, "room_url": ROOM, "participants": '["ann"]', "timestamp": "2026-01-01"}
        self.client.hset(f"heartbeat:{self.key}", mapping=fields)
        self.client.expire(f"heartbeat:{self.key}", 30)

    def write_identity(self, participant, **data):
        key = f"identity:{ROOM}:{participant}"
        fields = {"participant_id": participant, "room_url": ROOM, "timestamp": "2026-01-01T00:00:00"}
        self.client.hset(key, mapping={**fields, "data": json.dumps(data)})
        self.client.expire(key, 86_400)

    def scan_identities(self):
        hashes = [self.client.hgetall(key) for key in self.client.scan_iter(f"identity:{ROOM}:*")]
        return sorted(({**each, b"data": json.loads(each[b"data"])} for each in hashes), key=str)


@pytest.fixture
def older(place):
    bot = OlderBot(place.redis)
    yield bot
    bot.bell.close()


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_a_bot_gets_at_once_what_an_older_gateway_sends(place, key):
    async with process(place.settings()) as fleet:
        bot = await fleet.start(room_url=RAW_ROOM)
        async with takes_at_most(5):
            for number in range(3):
                place.send(
                    key, id=f"admin_{number}", type="admin_message", message=str(number), mode="direct"
                )
            place.send(key, prompt="twin", senderName="Ann", timestamp=0)
            place.send(key, prompt="twin", senderName="Ann", timestamp=0)
            seen = await until_seen(bot, "0", "1", "2", "twin", "twin")
        assert [each.mode for each in seen] == ["immediate"] * 3 + ["queued"] * 2
        assert not any(each.redelivered for each in seen)
        assert seen[3].sender_name == "Ann"


async def test_a_message_that_comes_long_after_its_bell_is_found(place):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        raw = json.dumps({"id": "late", "message": "late"})
        place.redis.publish("admin:bot:ada", raw)
        await anyio.sleep(0.5)  # the writer was held up between its two steps
        place.redis.rpush("admin:queue:ada", raw)
        async with takes_at_most(5):
            await until_seen(bot, "late")


async def test_what_a_gateway_and_a_dashboard_write_is_understood(place):
    wrapped = {"type": "note_context", "message": "a note", "context": {"page": 3}}
    gateway = {"id": "g", "type": "admin_message", "sender_id": "7", "sender_name": "Ann", "mode": "direct"}
    dashboard = {"type": "admin", "action": "mute", "fromAdmin": "Bob", "data": {"roomUrl": ROOM}}
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        place.send(ROOM, **gateway, room_url=ROOM, message=json.dumps(wrapped))
        await until_seen(bot, "a note")
        place.send(ROOM, id="d", timestamp="2026-01-01T00:00:00Z", **dashboard)
        note, action = await until_seen(bot, "a note", "mute")
        assert (note.id, note.mode, note.sender_name, note.data["context"]) == (
            "g",
            "immediate",
            "Ann",
            {"page": 3},
        )
        assert (action.id, action.sender_name) == ("d", "Bob")


async def test_what_we_send_reaches_an_older_bot_by_its_channel_and_by_its_list(place, older):
    async with process(place.settings()) as fleet:
        receipt = await fleet.client.send("99", "hello", sender_name="Ann", mode="immediate")
        heard, taken = older.heard(), older.receive()
        assert heard == taken
        assert (taken["id"], taken["message"], taken["mode"]) == (receipt.id, "hello", "immediate")
        assert (taken["type"], taken["sender_name"]) == ("admin_message", "Ann")
        assert older.receive() is None
        assert (await fleet.client.receipt(receipt)).state == "stored"  # as far as anybody can tell


async def test_an_older_bot_in_the_same_room_and_ours_get_each_message_once_between_them(place):
    older = OlderBot(place.redis, ROOM)
    try:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            sent, taken = [str(number) for number in range(200)], []
            for text in sent:
                place.send(ROOM, id=f"m{text}", message=text)
                if (message := older.receive()) is not None:
                    taken.append(message["message"])
                await anyio.lowlevel.checkpoint()
            await until(lambda: len(bot.reader.texts) + len(taken) == len(sent))
            await fleet.client.send("ada", "last", wait=5)
            assert sorted([*bot.reader.texts, *taken]) == sorted([*sent, "last"])
    finally:
        older.bell.close()


async def test_heartbeats_go_both_ways(place, older):
    async with process(place.settings()) as fleet:
        older.beat()
        beat = await fleet.client.heartbeat("99")
        assert (beat.pid, beat.bot_id, beat.participants, beat.room_url) == (99, "99", ("ann",), ROOM)
        bot = await fleet.start(bot_id=None)
        bot.bot.participants.add("bob")
        await until(lambda: place.redis.hget(f"heartbeat:{PID}", "participants") == b'["bob"]')
        fields = place.redis.hgetall(f"heartbeat:{PID}")
        assert (fields[b"pid"], fields[b"room_url"]) == (PID.encode(), ROOM.encode())
        assert 0 < place.redis.ttl(f"heartbeat:{PID}") <= 30


async def test_identities_go_both_ways(place, older):
    async with process(place.settings()) as fleet:
        identities = (await fleet.start()).bot.identities
        older.write_identity("old", sessionUserName="Old", participant_id="forged")
        await identities.write("new", {"sessionUserName": "New"})
        read = await identities.read("old")
        assert (read["participant_id"], read["sessionUserName"]) == ("old", "Old")
        assert [each["participant_id"] for each in await identities.list()] == ["new", "old"]
        new, _ = older.scan_identities()
        assert (new[b"participant_id"], new[b"data"]) == (b"new", {"sessionUserName": "New"})
        await identities.write("old", {"sessionUserName": "Newer"})
        assert older.scan_identities()[1][b"data"] == {"sessionUserName": "Newer"}
        older.write_identity("new", sessionUserName="Newest")
        assert await identities.cleanup() == 0  # it also forgets what is cached
        assert (await identities.read("new"))["sessionUserName"] == "Newest"
        assert place.redis.ttl(f"identity:{ROOM}:new") > 86_000


@pytest.mark.parametrize("kind", ["admin", "pre-spawn"])
async def test_a_file_that_is_written_in_place_and_in_parts_is_shown_once_and_whole(place, kind):
    room = hashlib.sha256(ROOM.encode()).hexdigest()[:12]
    prefix = f"admin-{PID}" if kind == "admin" else f"pre-spawn-{room}"
    text = json.dumps({"prompt": "from a file", "senderId": "7", "mode": "immediate", "timestamp": 1.5})
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        path = place.folder / "admin_message" / f"{prefix}-1700000000000.json"
        with path.open("w") as file:
            for start in range(0, len(text), 30):
                file.write(text[start : start + 30])
                file.flush()
                await anyio.sleep(0.05)
        async with takes_at_most(5):
            (message,) = await until_seen(bot, "from a file")
        assert (message.mode, message.sender_id, message.redelivered) == ("immediate", "7", False)
        place.send("ada", id="last", message="last")
        await until_seen(bot, "from a file", "last")
        assert place.spooled() == []


async def test_a_file_that_an_older_writer_left_unfinished_holds_up_nobody_and_goes_to_quarantine(place):
    folder = place.folder / "admin_message"
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        (folder / f"admin-{PID}-1.json").write_text('{"prompt": "cut o')
        (folder / f"admin-{PID}-2.json").write_text('{"prompt": "whole"}')
        async with takes_at_most(1.5):
            await until_seen(bot, "whole")
        await until(lambda: list(folder.glob(".bad/*")))
        assert place.spooled() == []


async def test_files_for_an_older_bot_stay_for_it_while_redis_is_away(place):
    async with process(place.settings()) as fleet:
        await fleet.start()  # its host's spool is forwarded while Redis is there
        place.server.kill()
        await fleet.until_on("file")
        receipt = await fleet.client.send("99", "hello", spool=True)
        assert receipt.where.startswith("spool@")
        (name,) = place.spooled()
        assert name.startswith("admin-99-")
        message = json.loads((place.folder / "admin_message" / name).read_text())
        assert (message["message"], message["id"]) == ("hello", receipt.id)
        await place.server.start()
        await fleet.until_on("redis")
        await until(lambda: place.redis.llen("admin:queue:99") == 1)
        assert OlderBot(place.redis).receive()["message"] == "hello"
