"""Redis switched on and off by the environment alone, step by step, with real processes: nothing is lost."""

import json
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from botvisor.actors.backend import failover, forwarded_files
from botvisor.actors.backend.spool_names import is_forwarded

from . import redis_bots, redis_server
from .bot_rig import until
from .fleet import settings_in
from .processes import Program
from .redis_bots import ROOM, process

servers = redis_server.servers
place = redis_bots.place

BOT = """
import sys
from botvisor import run_bot

async def main(bot):
    print("serves", flush=True)
    async for message in bot.inbox:
        print("got", message.id, int(message.redelivered), flush=True)

run_bot(main, room_url=sys.argv[1])
"""
ON = {"USE_REDIS": "true"}
OFF = {"USE_REDIS": "false"}


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Bots:
    """Bots as processes: each is told by its environment alone what it uses."""

    def __init__(self, place):
        self.place = place
        self.programs = []
        self.running = {}
        (place.folder / "bot.py").write_text(BOT)

    async def start(self, bot_id, room=ROOM, **env):
        """Start a bot; one of the same id is stopped before."""
        await self.stop(bot_id)
        await self.launch(bot_id, room, **env)

    async def launch(self, bot_id, room=ROOM, **env):
        script = [self.place.folder / "bot.py", room]
        variables = self.place.variables(BOT_ID=bot_id, **env)
        program = await anyio.to_thread.run_sync(lambda: Program(script, self.place.folder, **variables))
        self.programs.append(program)
        self.running[bot_id] = program
        await anyio.to_thread.run_sync(program.says, "serves")

    async def stop(self, bot_id):
        program = self.running.pop(bot_id, None)
        if program is not None:
            assert await anyio.to_thread.run_sync(program.stop) == 0, program.stderr

    def shown(self):
        """What `main` was shown: ids in order, each with whether it was marked."""
        lines = [line.split() for program in self.programs for line in program.out if "got " in line]
        return [(message_id, mark == "1") for _, message_id, mark in lines]

    async def all_of(self, ids):
        """Wait until all of these were shown; no id may be shown a second time without a mark."""
        try:
            await until(lambda: set(ids) <= {message_id for message_id, _ in self.shown()}, within=20)
        except TimeoutError:
            lost = set(ids) - {message_id for message_id, _ in self.shown()}
            raise AssertionError(f"lost: {sorted(lost)}; {self.running}") from None
        seen = Counter()
        for message_id, marked in self.shown():
            assert marked or not seen[message_id], f"{message_id} came again without a mark"
            seen[message_id] += 1
        return seen

    def close(self):
        for program in self.programs:
            program.close()


class Senders:
    """Whoever sends: a client of ours, and older writers, to Redis and to files.

    Attributes:
        client: ours; None while there is none.
        sent: the ids of all that was sent.
    """

    def __init__(self, place):
        self.place = place
        self.client = None
        self.sent = []

    async def ours(self, *targets):
        for target in targets:
            receipt = await self.client.send(target, "hello")
            self.sent.append(receipt.id)
        return receipt

    def to_redis(self, *keys):
        """Send as an older gateway does: PUBLISH first, then RPUSH and EXPIRE."""
        for key in keys:
            self.sent.append(f"redis-{len(self.sent)}")
            self.place.send(key, id=self.sent[-1], message="hello", room_url=ROOM)

    async def to_files(self, bot_id, *, named=True):
        """Write as an older gateway does: in place, in two pieces, and some of them without an id."""
        number, admin = len(self.sent), self.place.folder / "admin_message"
        admin.mkdir(mode=0o700, exist_ok=True)
        path = admin / f"admin-{bot_id}-{number}-{time.time_ns()}.json"
        self.sent.append(f"file-{number}" if named else path.name)
        fields = {"prompt": "hello", "senderId": "op", "timestamp": time.time(), "bot_pid": bot_id}
        raw = json.dumps({"id": self.sent[-1], **fields} if named else fields)
        with path.open("w") as file:
            file.write(raw[:20])
            file.flush()
            await anyio.sleep(0.02)
            file.write(raw[20:])

    async def everyone(self, bot_id="ada"):
        await self.ours(bot_id, ROOM)
        self.to_redis(bot_id, ROOM)
        await self.to_files(bot_id)
        await self.to_files(bot_id, named=False)

    async def all_but_redis(self, bot_id="ada"):
        await self.ours(bot_id, ROOM)
        await self.to_files(bot_id)
        await self.to_files(bot_id, named=False)


@pytest.fixture
async def bots(place, monkeypatch):
    monkeypatch.setattr(failover, "FORWARD_EVERY_S", 0.2)
    monkeypatch.setattr(forwarded_files, "_FIRST_S", 0.2)
    bots = Bots(place)
    yield bots
    bots.close()


@pytest.fixture
def senders(place):
    return Senders(place)


@asynccontextmanager
async def gateway(senders, settings):
    """A client of ours, for as long as the block lasts; it is a process of its own, as it were."""
    async with process(settings) as own:
        senders.client = own.client
        yield own
        senders.client = None


def queues(place):
    """The lengths of the lists that `docs/migration.md` has operators look at."""
    return {key.decode(): place.redis.llen(key) for key in place.redis.keys("admin:queue:*")}


async def test_going_on_bots_first_then_gateways_and_at_last_without_files(place, bots, senders):
    files = settings_in(place.folder)
    async with gateway(senders, files):
        await bots.start("ada", **OFF)
        await senders.everyone()  # what older writers leave on Redis waits for the bot to come there
        await bots.stop("ada")
        await senders.everyone()
        await bots.start("ada", **ON)
        await senders.everyone()
        await bots.all_of(senders.sent)
    async with gateway(senders, place.settings()):
        await senders.everyone()
        await bots.all_of(senders.sent)
        await bots.start("ada", **ON)
        await senders.everyone()
        await bots.all_of(senders.sent)
    nowhere = {f"BOT_{name}_DIR": "/proc/no/such" for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY")}
    before = sorted(place.folder.rglob("*"))
    async with gateway(senders, place.settings(file_fallback=False)):
        await bots.start("ada", **ON, BOT_FILE_FALLBACK="false", **nowhere)
        receipt = await senders.ours("ada", ROOM)
        senders.to_redis("ada", ROOM)
        seen = await bots.all_of(senders.sent)
        assert receipt.where == "redis"
        assert [path for path in place.folder.rglob("*") if path not in before] == []
    assert set(seen.values()) == {1}
    assert queues(place) == {}


async def test_going_off_gateways_first_then_empty_queues_then_bots(place, bots, senders):
    async with gateway(senders, place.settings()):
        await bots.start("ada", **ON)
        await senders.everyone()
        await bots.all_of(senders.sent)
        senders.to_redis("ada", ROOM)  # the last of the older gateways' and of ours
        await senders.ours("ada", ROOM)
    async with gateway(senders, settings_in(place.folder)):
        await senders.all_but_redis()
        await until(lambda: queues(place) == {}, within=10)
        await bots.all_of(senders.sent)
        await bots.stop("ada")
        await senders.all_but_redis()
        await bots.start("ada", **OFF)
        await senders.all_but_redis()
        seen = await bots.all_of(senders.sent)
    place.server.kill()  # by now nobody misses it
    async with gateway(senders, settings_in(place.folder)):
        await senders.all_but_redis()
        seen = await bots.all_of(senders.sent)
    assert set(seen.values()) == {1}


async def test_a_host_with_one_bot_on_redis_and_one_on_files(place, bots, senders):
    rooms = {"ada": f"{ROOM}/a", "bob": f"{ROOM}/b"}
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(60))
        old = await stack.enter_async_context(process(settings_in(place.folder)))
        new = await stack.enter_async_context(process(place.settings()))
        await bots.start("ada", rooms["ada"], **ON)
        for env in (OFF, ON):  # and then that one goes on, too
            await bots.start("bob", rooms["bob"], **env)
            for senders.client in (old.client, new.client):
                await senders.ours(*rooms, *rooms.values())
            for bot_id in rooms:
                await senders.to_files(bot_id)
            senders.to_redis(*rooms, *rooms.values())  # for bob they wait until he is there
        seen = await bots.all_of(senders.sent)
        assert set(seen.values()) == {1}
        listed = {each.bot_id: each.status for each in await new.client.heartbeats()}
        assert {listed[bot_id] for bot_id in rooms} == {"healthy"}


@pytest.mark.parametrize("env", [ON, OFF], ids=["it starts on Redis", "it starts on files"])
async def test_a_bot_that_was_not_running_yet(place, bots, senders, env):
    async with gateway(senders, place.settings()):
        await senders.ours("ada", ROOM)
        await senders.to_files("ada")
        await senders.to_files("ada", named=False)
        admin = place.folder / "admin_message"
        names = [path.name for path in admin.glob("*.json")]
        await until(lambda: all(is_forwarded(path.name) for path in admin.glob("*.json")), within=10)
        assert len(list(admin.glob("*.json"))) == len(names) == 4
        await bots.start("ada", **env)
        seen = await bots.all_of(senders.sent)
        await bots.stop("ada")
        assert set(seen.values()) == {1}
        if env is ON:
            await until(lambda: list(admin.glob("*.json")) == [], within=10)
        other = OFF if env is ON else ON
        await bots.start("ada", **other)  # what it has handled it is not shown again
        await senders.ours("ada")
        seen = await bots.all_of(senders.sent)
        assert set(seen.values()) == {1}


async def test_a_bot_that_is_killed_while_it_changes_over(place, bots, senders):
    async with gateway(senders, place.settings()):
        await bots.start("ada", **ON)
        await senders.everyone()
        bots.running.pop("ada").process.kill()
        await senders.everyone()
        await bots.start("ada", **ON)
        await senders.everyone()
        await bots.all_of(senders.sent)
