"""Where a message goes: to Redis if its target is served there, to the spool if only there, else to both."""

import pytest

from botvisor.actors.backend import placement
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.errors import StoreUnavailable
from botvisor.store import AcquireLease, IsServed, PushControl, PushMessage, Queue, ReleaseLease, TakeControl

from . import failover_rig, redis_server
from .failover_rig import LANE, LIST, LOOK, ONE, QUEUE, ROOM, RedisQueue, beat, push

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers

CONTROLS = "admin:ctl:{admin:queue:4711}"
STOP = PushControl("4711", "c", b'{"v": 1, "id": "c", "command": "stop"}')


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Asked:
    """A store that keeps which batches it was asked."""

    def __init__(self, store):
        self.store = store
        self.batches = []

    async def execute(self, commands):
        self.batches.append([type(command).__name__ for command in commands])
        return await self.store(commands)


def watch(store):
    asked = Asked(store.execute)
    store.execute = asked.execute
    return asked.batches


def bot_on_files(rig):
    """The store of a bot that uses no Redis."""
    return FileStore(
        Settings(
            admin_message_dir=rig.admin,
            heartbeat_dir=rig.admin.parent / "heartbeat",
            identity_dir=rig.admin.parent / "identity",
        )
    )


async def serve_on_redis(rig, queue=LANE):
    assert await rig.redis.execute([AcquireLease(queue, ONE)]) == [None]


async def serve_on_files(rig, queue=QUEUE):
    bot = bot_on_files(rig)
    assert await bot.execute([AcquireLease(queue, ONE)]) == [None]
    return bot


def places(rig, key="4711"):
    """How many of its messages there are on Redis, in the spool, and there as forwarded."""
    return rig.client().llen(f"admin:queue:{key}"), len(rig.waiting()), len(rig.forwarded())


@pytest.mark.parametrize("queue", [QUEUE, Queue("room", ROOM), Queue("pre-spawn", ROOM)], ids=str)
async def test_what_is_served_on_redis_goes_there(servers, rigs, queue):
    rig = rigs(await servers())
    key = {"bot": "4711", "room": ROOM, "pre-spawn": f"pre-spawn:{ROOM}"}[queue.kind]
    await serve_on_redis(rig, RedisQueue(queue.kind, queue.key))
    assert await rig.run(push(queue=queue)) == ["redis"]
    assert places(rig, key) == (1, 0, 0)


@pytest.mark.parametrize("queue", [QUEUE, Queue("room", ROOM), Queue("pre-spawn", ROOM)], ids=str)
async def test_what_is_served_on_files_alone_goes_there(servers, rigs, queue):
    rig = rigs(await servers())
    await serve_on_files(rig, queue)
    (where,) = await rig.run(push(queue=queue))
    assert where.startswith("spool@")
    assert len(rig.waiting()) == 1
    assert rig.client().keys("admin:queue:*") == []


@pytest.mark.parametrize("queue", [QUEUE, Queue("room", ROOM), Queue("pre-spawn", ROOM)], ids=str)
async def test_what_is_served_nowhere_goes_to_both_under_one_id(servers, rigs, queue):
    rig = rigs(await servers())
    key = {"bot": "4711", "room": ROOM, "pre-spawn": f"pre-spawn:{ROOM}"}[queue.kind]
    assert await rig.run(push(queue=queue)) == ["redis"]
    assert places(rig, key) == (1, 0, 1)
    (name,) = rig.forwarded()
    assert (rig.admin / name).read_bytes() == rig.client().lindex(f"admin:queue:{key}", 0)
    await rig.store.tend()
    assert places(rig, key) == (1, 0, 1)


async def test_an_older_bot_is_known_by_its_heartbeat(servers, rigs):
    rig = rigs(await servers())
    rig.client().hset("heartbeat:4711", mapping={"pid": 4711, "room_url": "", "participants": "[]"})
    assert await rig.run(push()) == ["redis"]
    assert places(rig) == (1, 0, 0)


async def test_a_bot_on_files_is_known_by_its_heartbeat(servers, rigs):
    rig = rigs(await servers())
    await bot_on_files(rig).execute([beat()])
    (where,) = await rig.run(push())
    assert where.startswith("spool@")
    assert places(rig) == (0, 1, 0)


@pytest.mark.parametrize("store", ["redis", "files"])
async def test_last_words_are_no_sign_of_life(servers, rigs, store):
    rig = rigs(await servers())
    words = beat(status=b"stopped")
    await (rig.redis if store == "redis" else bot_on_files(rig)).execute([words])
    assert await rig.run(push()) == ["redis"]
    assert places(rig) == (1, 0, 1)


async def test_a_bot_that_drains_both_is_served_on_redis(servers, rigs):
    rig = rigs(await servers())
    await serve_on_redis(rig)
    await rig.files.execute([AcquireLease(RedisQueue("bot", "4711", "file"), ONE)])
    assert await rig.run(push()) == ["redis"]
    assert places(rig) == (1, 0, 0)


async def test_a_queue_of_one_store_is_asked_about_nowhere(servers, rigs):
    rig = rigs(await servers())
    await serve_on_files(rig)
    asked = watch(rig.redis)
    assert await rig.run(push(queue=LANE)) == ["redis"]
    assert asked == [["PushMessage"]]


async def test_steady_sends_cost_one_round_trip(servers, rigs):
    rig = rigs(await servers())
    targets = [Queue("bot", str(number)) for number in range(20)]
    await rig.run(*(beat(queue.key) for queue in targets))
    on_redis, on_files = watch(rig.redis), watch(rig.files)
    for _ in range(3):
        assert await rig.run(*(push(queue=queue) for queue in targets)) == ["redis"] * 20
    assert on_redis == [["IsServed"] * 20, *[["PushMessage"] * 20] * 3]
    assert on_files == []


async def test_several_sends_to_one_unknown_target_ask_once(servers, rigs):
    rig = rigs(await servers())
    asked = watch(rig.redis)
    await rig.run(push("a"), push("b"), STOP)
    assert asked == [["IsServed"], ["PushMessage", "PushMessage", "PushControl"]]
    assert rig.on_redis() == ["a", "b"]


async def test_a_bot_that_went_over_is_found_after_a_moment(servers, rigs, monkeypatch):
    monkeypatch.setattr(placement, "SERVED_S", 0.0)
    monkeypatch.setattr(placement, "UNSERVED_S", 0.0)
    rig = rigs(await servers())
    await serve_on_redis(rig)
    await rig.run(push("a"))
    await rig.redis.execute([ReleaseLease(LANE, ONE.instance)])
    bot = await serve_on_files(rig)
    await rig.run(push("b"))
    assert places(rig) == (1, 1, 0)
    await bot.execute([ReleaseLease(QUEUE, ONE.instance)])
    await serve_on_redis(rig)
    await rig.run(push("c"))
    assert rig.on_redis() == ["a", "c"]


async def test_what_is_remembered_is_bounded(servers, rigs, monkeypatch):
    monkeypatch.setattr(placement, "_REMEMBERED", 3)
    rig = rigs(await servers())
    await rig.run(*(push(queue=Queue("bot", str(number))) for number in range(9)))
    assert len(rig.store._placement._known) == 3


async def test_a_redis_that_fails_in_the_middle_leaves_it_to_the_files(servers, rigs):
    server = await servers()
    rig = rigs(server)
    assert await rig.run(push("a")) == ["redis"]  # now it is known that nobody serves it
    server.kill()
    (spooled,) = await rig.run(push("b"))
    assert spooled.where.startswith("spool@")
    assert spooled.reason.startswith("Redis")
    assert (len(rig.waiting()), len(rig.forwarded())) == (1, 1)  # so it will be forwarded
    assert rig.store._placement._known == {}


async def test_one_of_two_that_took_it_is_enough(servers, rigs):
    rig = rigs(await servers())
    rig.admin.write_text("no directory")
    assert await rig.run(push()) == ["redis"]
    assert rig.client().llen(LIST) == 1


async def test_a_full_redis_leaves_what_is_served_nowhere_to_the_spool(servers, rigs):
    rig = rigs(await servers())
    rig.client().config_set("maxmemory", 1)
    (spooled,) = await rig.run(push())
    assert spooled.where.startswith("spool@")
    assert "OOM" in spooled.reason
    assert places(rig) == (0, 1, 0)


async def test_a_message_that_no_store_can_take_is_kept_nowhere(servers, rigs):
    rig = rigs(await servers())
    (answer,) = await rig.run(PushMessage(QUEUE, "m", b" " * 1_048_577))
    assert isinstance(answer, Exception)
    assert rig.client().llen(LIST) == 0
    assert not rig.admin.exists()


async def test_who_sends_once_uses_the_spool_only_for_who_is_here(servers, rigs):
    server = await servers()
    rig = rigs(server)
    await serve_on_files(rig)
    (where,) = await rig.run(PushMessage(QUEUE, "a", b'{"message":"hi"}', elsewhere=False))
    assert where.startswith("spool@")
    there = PushMessage(Queue("bot", "there"), "b", b'{"message":"hi"}', elsewhere=False)
    assert await rig.run(there) == ["redis"]
    server.kill()
    await rig.run(LOOK)
    here, refused = await rig.run(PushMessage(QUEUE, "c", b'{"message":"hi"}', elsewhere=False), there)
    assert here.where.startswith("spool@")
    assert isinstance(refused, StoreUnavailable)
    assert str(refused).startswith("Redis is away: ")
    assert str(refused).endswith(", and nobody serves bot there on this host")


@pytest.mark.parametrize(("served", "expected"), [("redis", (1, 0)), ("files", (0, 1)), ("nowhere", (1, 1))])
async def test_a_control_object_goes_where_its_bot_is(servers, rigs, served, expected):
    rig = rigs(await servers())
    if served == "redis":
        await serve_on_redis(rig)
    elif served == "files":
        await serve_on_files(rig)
    else:
        await rig.files.execute([IsServed(QUEUE)])
        rig.admin.mkdir(mode=0o700)
    assert await rig.run(STOP) == [None]
    assert (rig.client().llen(CONTROLS), len(list(rig.admin.glob("ctl-*")))) == expected
    (taken,) = await rig.run(TakeControl("4711"))
    assert set(taken) == {STOP.raw}


async def test_without_files_everything_goes_to_redis_unasked(servers, rigs):
    rig = rigs(await servers(), files=False)
    asked = watch(rig.redis)
    assert await rig.run(push(), STOP) == ["redis", None]
    assert asked == [["PushMessage", "PushControl"]]
