"""What is read where some bots use Redis and others keep to files."""

import time

import pytest

from botvisor import process
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identities import new_identity
from botvisor.process import own
from botvisor.store import (
    ListHeartbeats,
    ListIdentities,
    ReadHeartbeat,
    ReadIdentity,
    WriteHeartbeat,
    WriteIdentity,
)
from botvisor.wire import ALIVE_KEY

from . import failover_rig, redis_server
from .failover_rig import ROOM

rigs = failover_rig.rigs
servers = redis_server.servers


@pytest.fixture
def anyio_backend():
    return "asyncio"


def beat(bot_id, status="healthy", *, ago_s=0.0, **fields):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() - ago_s))
    me = own(bot_id, "one")
    facts = {
        "host": me.host,
        "boot_id": me.boot_id,
        "pid_ns": me.pid_ns,
        "pid": me.pid,
        "start_ticks": me.start_ticks,
        **fields,
    }
    return WriteHeartbeat(
        bot_id,
        to_hash(
            Heartbeat(
                room_url=ROOM,
                participants=(),
                timestamp=stamp,
                bot_id=bot_id,
                instance="one",
                status=status,
                **facts,
            )
        ),
    )


def identity(participant, name, writer="writer", *, updated_ms=0):
    found = new_identity(ROOM, participant, {"name": name}, writer)
    return WriteIdentity(
        type(found)(
            participant_id=participant,
            room_url=ROOM,
            timestamp=found.timestamp,
            data=found.data,
            updated_ms=found.updated_ms + updated_ms,
            writer=writer,
        )
    )


async def test_bots_of_both_stores_are_listed_once(servers, rigs):
    rig = rigs(await servers())
    await rig.redis.execute([beat("on-redis"), beat("moved", "stopped", ago_s=1)])
    await rig.files.execute([beat("on-files"), beat("moved")])
    found = {each.bot_id: each.status for each in await rig.ask(ListHeartbeats())}
    assert found == {"on-redis": "healthy", "on-files": "healthy", "moved": "healthy"}


def seen_by_redis(rig, bot_id, *, ago_s):
    """Have a heartbeat on Redis as old as it says: the server noted when it came."""
    rig.client().zincrby(ALIVE_KEY, -1000 * ago_s, bot_id)


KILLED_LONG_AGO = {"ago_s": 9_000, "pid": 1, "start_ticks": 1}


@pytest.mark.parametrize(
    ("redis", "files", "seen"),
    [
        ({}, {"status": "draining", "ago_s": 60}, "healthy"),
        ({"status": "draining", "ago_s": 20}, {}, "healthy"),
        ({"status": "stopped"}, {"status": "draining", "ago_s": 20}, "draining"),
        ({"status": "draining", "ago_s": 20}, {"status": "stopped"}, "draining"),
        ({"status": "stopped"}, KILLED_LONG_AGO, "stopped"),
    ],
    ids=["later", "later on files", "it lives on files", "it lives on Redis", "killed on files long ago"],
)
async def test_a_heartbeat_of_who_lives_counts_then_the_later_one(servers, rigs, redis, files, seen):
    rig = rigs(await servers())
    await rig.redis.execute([beat("x", **redis)])
    seen_by_redis(rig, "x", ago_s=redis.get("ago_s", 0))
    await rig.files.execute([beat("x", **files)])
    (listed,) = await rig.ask(ListHeartbeats())
    assert listed.status == seen
    assert process.host() == listed.host


async def test_one_heartbeat_is_read_from_redis_and_from_the_files_only_if_none_lives_there(servers, rigs):
    rig = rigs(await servers())
    await rig.redis.execute([beat("there"), beat("moved", "stopped", ago_s=1), beat("gone", "stopped")])
    await rig.files.execute([beat("here"), beat("there", "draining"), beat("moved")])
    answers = await rig.run(*(ReadHeartbeat(name) for name in ("there", "here", "moved", "gone", "nobody")))
    assert [answer and answer.status for answer in answers] == [
        "healthy",
        "healthy",
        "healthy",
        "stopped",
        None,
    ]


async def test_only_misses_look_at_the_files(servers, rigs):
    rig = rigs(await servers())
    await rig.redis.execute([beat("there"), identity("ann", "Ann")])
    asked, execute = [], rig.files.execute

    async def spy(commands):
        asked.extend(commands)
        return await execute(commands)

    rig.files.execute = spy
    await rig.run(ReadHeartbeat("there"), ReadIdentity(ROOM, "ann"))
    assert asked == []
    await rig.run(ReadHeartbeat("there"), ReadIdentity(ROOM, "bob"))
    assert asked == [ReadIdentity(ROOM, "bob")]


async def test_identities_of_both_stores_are_listed_the_later_version_of_each(servers, rigs):
    rig = rigs(await servers())
    await rig.redis.execute(
        [identity("ann", "old"), identity("bob", "new", updated_ms=5_000), identity("cy", "cy")]
    )
    await rig.files.execute(
        [identity("ann", "new", updated_ms=5_000), identity("bob", "old"), identity("dan", "dan")]
    )
    listed = [each.merged() for each in await rig.ask(ListIdentities(ROOM))]
    assert [(each["participant_id"], each["name"]) for each in listed] == [
        ("ann", "new"),
        ("bob", "new"),
        ("cy", "cy"),
        ("dan", "dan"),
    ]
    assert (await rig.ask(ReadIdentity(ROOM, "dan"))).merged()["name"] == "dan"
    assert await rig.ask(ReadIdentity(ROOM, "eve")) is None


async def test_files_that_cannot_be_read_hide_nothing_that_redis_has(servers, rigs):
    rig = rigs(await servers())
    await rig.redis.execute([beat("there"), identity("ann", "Ann")])
    for name in ("heartbeat", "identity"):
        (rig.admin.parent / name).write_text("no directory")
    answers = await rig.run(
        ListHeartbeats(), ReadHeartbeat("nobody"), ListIdentities(ROOM), ReadIdentity(ROOM, "bob")
    )
    assert [each.bot_id for each in answers[0]] == ["there"]
    assert [each.participant_id for each in answers[2]] == ["ann"]
    assert answers[1::2] == [None, None]


async def test_while_redis_is_away_the_files_answer(servers, rigs):
    server = await servers()
    rig = rigs(server)
    await rig.files.execute([beat("here"), identity("ann", "Ann")])
    server.kill()
    await rig.lose()
    beats, one, identities = await rig.run(ListHeartbeats(), ReadHeartbeat("here"), ReadIdentity(ROOM, "ann"))
    assert [each.bot_id for each in beats] == [one.bot_id] == ["here"]
    assert identities.participant_id == "ann"


async def test_while_redis_is_full_what_was_written_last_is_read_and_not_what_it_still_has(servers, rigs):
    rig = rigs(await servers())
    assert await rig.run(identity("ann", "Ann"), identity("bob", "Bob")) == [None, None]
    rig.client().config_set("maxmemory", 1)
    assert await rig.run(identity("ann", "Anna"), identity("eve", "Eve")) == [None, None]
    found = await rig.run(*(ReadIdentity(ROOM, name) for name in ("ann", "bob", "eve")))
    assert [each.merged()["name"] for each in found] == ["Anna", "Bob", "Eve"]
    rig.client().config_set("maxmemory", 0)
    await rig.run(identity("ann", "Anne"))
    assert (await rig.ask(ReadIdentity(ROOM, "ann"))).merged()["name"] == "Anne"
    await rig.store.tend()
    assert (await rig.ask(ReadIdentity(ROOM, "ann"))).merged()["name"] == "Anne"
