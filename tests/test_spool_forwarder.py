"""The spool's way to Redis: every message once, also after a crash, and none of a bot that runs here."""

import json

import anyio
import pytest

from botvisor.errors import StoreUnavailable
from botvisor.store import AcquireLease, PushControl, Queue

from . import failover_rig, redis_server
from .failover_rig import LIST, ONE, QUEUE, ROOM, of_level, push

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers
probed_soon = failover_rig.probed_soon
pytestmark = pytest.mark.usefixtures("probed_soon")

OLDER = b'{"prompt": "hi", "senderId": "op"}'


async def test_spooled_messages_flow_in_before_redis_is_used(servers, rigs, lines):
    server = await servers()
    rig = rigs(server)
    server.kill()
    for number in range(5):
        await rig.run(push(f"m{number}"))
    assert len(rig.waiting()) == 5
    await server.start()
    await rig.back()
    assert rig.on_redis() == ["m0", "m1", "m2", "m3", "m4"]
    assert rig.waiting() == []
    assert 0 < rig.client().ttl(LIST) <= 3600
    await rig.store.tend()
    assert rig.client().llen(LIST) == 5
    assert [text for text in of_level(lines, "INFO") if "Forwarded 5" in text]


async def test_messages_of_a_bot_that_runs_here_stay(servers, rigs):
    server = await servers()
    rig, bot = rigs(server), rigs(server)
    await bot.files.execute([AcquireLease(QUEUE, ONE)])
    await rig.files.execute([push(), push("elsewhere", Queue("bot", "4712"))])
    await rig.store.tend()
    assert rig.client().llen(LIST) == 0
    assert rig.client().llen("admin:queue:4712") == 1
    assert len(rig.waiting()) == 1


async def test_messages_for_rooms_and_controls_find_their_way(servers, rigs):
    rig = rigs(await servers())
    await rig.files.execute(
        [
            push("a", Queue("room", ROOM)),
            push("b", Queue("pre-spawn", ROOM)),
            PushControl("4711", "c", b'{"v": 1, "id": "c", "command": "stop"}'),
            push("d", Queue("bot", "a-b:c")),
            push("e", Queue("bot", "-:" * 64)),
        ]
    )
    await rig.store.tend()
    client = rig.client()
    rooms = (f"admin:queue:{ROOM}", f"admin:queue:pre-spawn:{ROOM}")
    assert [client.llen(key) for key in (*rooms, "admin:queue:a-b:c", "admin:queue:" + "-:" * 64)] == [1] * 4
    assert client.llen("admin:ctl:{admin:queue:4711}") == 1
    assert rig.waiting() == []


async def test_what_cannot_be_forwarded_stays_as_it_is(servers, rigs):
    rig = rigs(await servers())
    await rig.files.execute([push()])
    whole = {"admin-9-cut.json": b'{"message": "cut o', "room-0123456789ab-x.json": b'{"message": "whose?"}'}
    for name, raw in whole.items():
        (rig.admin / name).write_bytes(raw)
    await rig.store.tend()
    assert rig.waiting() == sorted(whole)
    assert {name: (rig.admin / name).read_bytes() for name in whole} == whole


async def test_an_older_writers_file_is_known_by_its_name_from_then_on(servers, rigs):
    rig = rigs(await servers())
    await rig.files.execute([push()])
    (rig.admin / "admin-9-1700.json").write_bytes(OLDER)
    written_ns = (rig.admin / "admin-9-1700.json").stat().st_mtime_ns
    await rig.store.tend()
    (raw,) = rig.client().lrange("admin:queue:9", 0, -1)
    assert json.loads(raw) == {"prompt": "hi", "senderId": "op", "id": "admin-9-1700.json"}
    kept = rig.admin / "admin-9-fwd.1700.json"
    assert kept.read_bytes() == raw
    assert kept.stat().st_mtime_ns == written_ns  # so it gets no older by this


@pytest.mark.parametrize("crash_after", ["the rename", "the rewrite"])
async def test_a_crash_while_forwarding_loses_nothing(servers, rigs, crash_after, lines):
    server = await servers()
    crashed = rigs(server)
    await crashed.files.execute([push("m1")])
    (crashed.admin / "admin-4711-1700.json").write_bytes(OLDER)
    forwarder = crashed.store._forwarder
    assert forwarder.begin()
    if crash_after == "the rename":
        forwarder._move("admin-4711-1700.json", "admin-4711-fwd.1700.json")
        assert len(forwarder.take(10)) == 1
    else:
        assert len(forwarder.take(10)) == 2
    assert crashed.waiting() == []

    rig = rigs(server)
    await rig.tend_again(3)
    assert rig.client().llen(LIST) == 0  # the other one lives, as far as anybody can see
    forwarder._lease.close()  # as the end of its process does
    await rig.tend_again(3)
    assert sorted(rig.on_redis()) == ["admin-4711-1700.json", "m1"]
    assert len(rig.forwarded()) == 2
    (line,) = [text for text in of_level(lines, "WARNING") if "Sent again" in text]
    assert {"admin-4711-1700.json", "m1"} == set(line.rpartition(": ")[2].split(", "))


async def test_messages_go_back_when_redis_cannot_take_them(servers, rigs):
    rig = rigs(await servers())
    rig.client().config_set("maxmemory", 1)
    await rig.run(push("m1"), push("m2"))
    before = rig.waiting()
    assert len(before) == 2
    await rig.store.tend()
    assert rig.spooled() == before
    assert rig.mode == "redis"


async def test_messages_go_back_when_forwarding_is_cut_short(servers, rigs):
    server = await servers()
    rig = rigs(server)
    await rig.files.execute([push("m1"), push("m2")])
    before = rig.waiting()
    await rig.run(failover_rig.LOOK)
    server.pause()
    with anyio.move_on_after(0.2):
        await rig.store.tend()
    assert rig.spooled() == before
    server.resume()
    await rig.back()
    await rig.store.tend()
    assert set(rig.on_redis()) == {"m1", "m2"}


async def test_two_processes_forward_each_message_once(servers, rigs):
    server = await servers()
    pair = [rigs(server), rigs(server)]
    await pair[0].files.execute([push(f"m{number}") for number in range(50)])
    async with anyio.create_task_group() as group:
        for rig in pair:
            group.start_soon(rig.store.tend)
    assert sorted(pair[0].on_redis()) == sorted(f"m{number}" for number in range(50))


async def test_a_name_that_is_used_twice_is_forwarded_one_after_the_other(servers, rigs):
    rig = rigs(await servers())
    await rig.files.execute([push("other")])
    (rig.admin / "admin-9-1.json").write_bytes(b'{"id": "first", "prompt": "hi"}')
    await rig.store.tend()
    (rig.admin / "admin-9-1.json").write_bytes(b'{"id": "second", "prompt": "hi"}')
    await rig.store.tend()
    assert rig.on_redis("9") == ["first"]
    assert rig.waiting() == ["admin-9-1.json"]
    rig.client().lpop("admin:queue:9")  # an older bot took it
    await rig.tend_again()
    await rig.store.tend()
    assert rig.on_redis("9") == ["second"]


async def test_a_user_who_may_send_no_commands_still_uses_redis(servers, rigs):
    rig = rigs(await servers())
    rig.client().acl_setuser("default", enabled=True, reset_keys=True, keys=["admin:queue:*", "admin:kept:*"])
    control = PushControl("4711", "c", b'{"v": 1, "id": "c", "command": "stop"}')
    await rig.files.execute([push(), control])
    await rig.store.tend()
    assert rig.mode == "redis"
    assert rig.on_redis() == ["m"]
    assert [name.startswith("ctl-4711-") for name in rig.waiting()] == [True]
    (answer,) = await rig.redis.execute([control])
    assert not isinstance(answer, StoreUnavailable)
    assert "may send no commands to bots" in str(answer)
