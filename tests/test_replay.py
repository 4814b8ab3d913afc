"""What Redis missed: told first when it is back, each once."""

import json
import shutil
import time

import msgspec
import pytest

from botvisor.actors.backend import breaker, replay
from botvisor.errors import StoreUnavailable
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    Done,
    NextMessage,
    ReadIdentity,
    ReadReceipt,
    WriteIdentity,
)
from botvisor.wire import acks_file, done_key, owner_key, proc_key

from . import failover_rig, redis_server, two_loops
from .failover_rig import LANE, LIST, ONE, ROOM, TWO, beat, identity, of_level, push, running

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers
probed_soon = failover_rig.probed_soon
pytestmark = pytest.mark.usefixtures("probed_soon")
anyio_backend = two_loops.anyio_backend

DURABLE = ("appendonly yes", "appendfsync always")


async def claimed(rig):
    """Let ONE claim a message of Redis; return what acknowledges it."""
    answers = await rig.run(push(queue=LANE), AcquireLease(LANE, ONE), NextMessage(LANE, "one", "a"))
    return Done(answers[-1].token, "m")


async def handle_while_away(rig, server):
    """Let ONE handle a message and find Redis gone."""
    done = await claimed(rig)
    server.kill()
    for _ in range(3):  # an inbox tells it again and again
        (answer,) = await rig.run(NextMessage(LANE, "one", "a", done))
        assert isinstance(answer, StoreUnavailable)
    return done


def acks(rig):
    path = rig.admin / acks_file("4711")
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


async def test_a_done_is_kept_once_for_a_successor(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    done = await handle_while_away(rig, server)
    (ack,) = acks(rig)
    assert (ack["v"], ack["kind"], ack["key"]) == (1, "bot", "4711")
    assert (ack["token"], ack["id"]) == (done.token, "m")
    assert (rig.admin / acks_file("4711")).stat().st_mode & 0o777 == 0o600


async def test_a_done_is_told_first_when_redis_is_back(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    await handle_while_away(rig, server)
    await server.start()
    await rig.back()
    assert not rig.client().exists(proc_key(LIST))
    assert rig.client().zscore(done_key(LIST), "m") is not None
    assert acks(rig) == []
    assert rig.store.state()["kept"] == 0
    assert await rig.run(NextMessage(LANE, "one", "b")) == [None]


async def test_a_done_is_told_although_the_lease_ran_out(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    await handle_while_away(rig, server)
    await server.start()
    rig.client().delete(owner_key(LIST))
    await rig.back()
    assert not rig.client().exists(proc_key(LIST))


async def test_a_done_of_a_bot_that_has_left_gives_its_lease_up_again(servers, rigs):
    from botvisor.store import ReleaseLease

    server = await servers(*DURABLE)
    rig = rigs(server)
    await handle_while_away(rig, server)
    await rig.run(ReleaseLease(LANE, "one"))
    await server.start()
    await rig.back()
    assert not rig.client().exists(proc_key(LIST))
    assert not rig.client().exists(owner_key(LIST))


async def test_a_queue_that_somebody_else_serves_now_is_left_to_him(servers, rigs, lines):
    server = await servers(*DURABLE)
    rig, other = rigs(server), rigs(server)
    await handle_while_away(rig, server)
    await server.start()
    rig.client().delete(owner_key(LIST))
    await other.redis.execute([AcquireLease(LANE, TWO)])
    await rig.back()
    assert rig.client().exists(proc_key(LIST))
    assert len(acks(rig)) == 1  # for whoever serves it next on this host
    assert [text for text in of_level(lines, "WARNING") if "may show it again" in text]


async def test_a_successor_does_not_show_what_was_handled(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    await handle_while_away(rig, server)
    await server.start()
    successor = rigs(server)
    successor.client().delete(owner_key(LIST))  # its time has passed
    assert await successor.run(AcquireLease(LANE, TWO)) == [None]
    assert await successor.run(NextMessage(LANE, "two", "b")) == [None]
    assert await successor.run(ReadReceipt(LANE, "m")) == ["handled"]
    assert acks(rig) == []


async def test_a_successor_in_a_room_reads_what_another_bot_left(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    room = failover_rig.RedisQueue("room", ROOM)
    _, _, claim = await rig.run(push(queue=room), AcquireLease(room, ONE), NextMessage(room, "one", "a"))
    server.kill()
    await rig.run(NextMessage(room, "one", "a", Done(claim.token, "m")))
    await server.start()
    successor = rigs(server)
    successor.client().delete(owner_key(f"admin:queue:{ROOM}"))
    assert await successor.run(AcquireLease(room, own("4712", "next"))) == [None]
    assert await successor.run(NextMessage(room, "next", "b")) == [None]


async def test_a_lease_is_not_given_before_redis_knows_what_was_handled(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    await handle_while_away(rig, server)
    await server.start()
    successor = rigs(server)
    successor.client().delete(owner_key(LIST))
    execute, asked = successor.redis.execute, []

    async def gone_after_the_lease(commands):
        asked.append(commands)
        if len(asked) == 2:
            server.kill()
        return await execute(commands)

    successor.redis.execute = gone_after_the_lease
    (answer,) = await successor.run(AcquireLease(LANE, TWO))
    assert isinstance(answer, StoreUnavailable)
    assert len(acks(rig)) == 1


async def test_a_torn_or_foreign_line_of_a_log_is_passed_over(servers, rigs):
    server = await servers(*DURABLE)
    rig = rigs(server)
    await rig.files.execute([push("makes the directory")])
    path = rig.admin / acks_file("4711")
    path.write_bytes(b'\xff\n[]\n{"v": 1, "kind": "bot", "key": "47')
    path.chmod(0o600)
    await handle_while_away(rig, server)
    assert len(path.read_bytes().splitlines()) == 4
    await server.start()
    await rig.back()
    assert not rig.client().exists(proc_key(LIST))


async def test_the_newest_heartbeat_of_each_bot_is_written_again(servers, rigs):
    server = await servers()  # it forgets everything
    rig = rigs(server)
    await rig.run(beat("quiet", timestamp=b"first"), beat("busy", timestamp=b"first"))
    server.kill()
    await rig.run(beat("busy", timestamp=b"second"))
    await rig.run(beat("busy", timestamp=b"third"), beat("ended", status=b"stopped"))
    await server.start()
    await rig.back()
    client = rig.client()
    assert client.hget("heartbeat:quiet", "timestamp") == b"first"
    assert client.hget("heartbeat:busy", "timestamp") == b"third"
    assert client.exists("bots:epitaph:ended")
    assert 0 < client.ttl("heartbeat:busy") <= 30


async def test_a_bot_that_beats_no_more_is_not_brought_back_to_life(servers, rigs, monkeypatch):
    server = await servers()
    rig = rigs(server)
    await rig.run(beat("dead"))
    server.kill()
    await rig.run(beat("dead"), beat("ended", status=b"stopped"))
    monkeypatch.setattr(replay, "HEARTBEAT_TTL_S", 0)
    await server.start()
    await rig.back()
    assert not rig.client().exists("heartbeat:dead")
    assert rig.client().exists("bots:epitaph:ended")


async def test_identities_of_the_outage_arrive_and_the_last_writer_wins(servers, rigs, monkeypatch):
    monkeypatch.setattr(breaker, "WAITS_S", (0.5,))  # longer than what makes a write a late one
    server = await servers(*DURABLE)
    rig, other = rigs(server), rigs(server)
    old = identity("old")
    await rig.run(old)
    server.kill()
    await rig.run(identity("from the outage"))
    await server.start()
    await rig.back()
    (found,) = await rig.redis.execute([ReadIdentity(ROOM, "ann")])
    assert msgspec.json.decode(found.data) == {"name": "from the outage"}

    server.kill()
    await rig.run(identity("late"))
    time.sleep(0.01)  # noqa: ASYNC251 - the next one is a later write
    newer = identity("newer", "other")
    await server.start()
    await other.redis.execute([newer])
    await rig.back()
    (found,) = await rig.redis.execute([ReadIdentity(ROOM, "ann")])
    assert msgspec.json.decode(found.data) == {"name": "newer"}


async def test_a_late_identity_has_the_rest_of_its_life(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.kill()
    written = identity().identity
    hour_ago = msgspec.structs.replace(written, updated_ms=written.updated_ms - 3_600_000)
    await rig.run(WriteIdentity(hour_ago))
    await server.start()
    await rig.back()
    assert 82_000 < rig.client().ttl(f"identity:{ROOM}:ann") <= 82_800


async def test_an_identity_that_no_store_took_is_not_replayed(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.kill()
    rig.admin.parent.joinpath("identity").write_text("no directory")
    (answer,) = await rig.run(identity())
    assert isinstance(answer, Exception)
    assert rig.store.state()["kept"] == 0


async def test_a_write_that_failed_does_not_take_along_the_one_before_it(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.kill()
    assert await rig.run(identity("kept")) == [None]
    folder = rig.admin.parent / "identity"
    shutil.rmtree(folder)
    folder.write_text("no directory")
    (answer,) = await rig.run(identity("failed"))
    assert isinstance(answer, Exception)
    await server.start()
    await rig.back()
    (found,) = await rig.redis.execute([ReadIdentity(ROOM, "ann")])
    assert msgspec.json.decode(found.data) == {"name": "kept"}


async def test_what_is_written_during_the_recovery_is_not_forgotten(servers, rigs):
    server = await servers()
    rig = rigs(server)
    async with running(rig):
        server.kill()
        await rig.lose()
        await server.start()
        names = []
        while rig.mode != "redis":
            names.append(f"n{len(names)}")
            await rig.run(identity(names[-1]))
        names.append("last")
        await rig.run(identity("last"))
    (found,) = await rig.redis.execute([ReadIdentity(ROOM, "ann")])
    assert msgspec.json.decode(found.data) == {"name": "last"}
    assert rig.store.state()["kept"] == 0


async def test_a_full_redis_is_used_and_told_later(servers, rigs):
    server = await servers()
    rig = rigs(server)
    rig.client().config_set("maxmemory", 1)
    assert await rig.run(identity()) == [None]
    assert rig.store.state()["kept"] == 1
    await rig.store.tend()
    assert rig.mode == "redis"
    assert rig.store.state()["kept"] == 1
    rig.client().config_set("maxmemory", 0)
    await rig.store.tend()
    assert rig.store.state()["kept"] == 0
    assert rig.client().hget(f"identity:{ROOM}:ann", "participant_id") == b"ann"
