"""The store on a real Redis Cluster of three nodes."""

import functools
import json
import time
from collections import Counter

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from msgspec import structs

from botvisor.actors.backend import redis_aside
from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.actors.backend.redis_errors import Kind, RedisUnavailable
from botvisor.config import load_settings
from botvisor.identities import new_identity
from botvisor.mending import ForgetBot, ReadFacts
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    CleanUpIdentities,
    Done,
    IsServed,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadPast,
    ReadReceipt,
    ReleaseLease,
    WriteIdentity,
)

from . import cluster_rig, redis_server, redis_world
from .cluster_rig import ROOM, beat
from .processes import ROOT
from .readme import blocks, variables
from .redis_world import ONE, QUEUE, Q

world = cluster_rig.world
pytestmark = pytest.mark.xdist_group("cluster")  # each worker would found clusters of its own
anyio_backend = redis_world.one_loop

each_version = pytest.mark.parametrize("world", redis_server.versions(), indirect=True)


def identity(participant, room=ROOM, **more):
    return WriteIdentity(new_identity(room, participant, {"name": participant, **more}, "writer"))


@each_version
async def test_a_message_is_taken_handled_and_given_up_in_a_queue_of_a_cluster(world):
    assert await world.ask(AcquireLease(QUEUE, ONE)) is None
    for name in ("first", "second"):
        await world.ask(PushMessage(QUEUE, name, b'{"id": "%b"}' % name.encode()))
    first = await world.ask(NextMessage(QUEUE, "one", "try", None))
    assert await world.ask(ReadReceipt(QUEUE, "first")) == "delivered"
    done = Done(first.token, "first")
    second = await world.ask(NextMessage(QUEUE, "one", "try", done))
    assert await world.ask(ReadReceipt(QUEUE, "first")) == "handled"
    await world.ask(BuryMessage(QUEUE, "one", second.token, "no use"))
    assert [(m.state, m.reason) for m in await world.ask(ListMessages(QUEUE))] == [("dead", "no use")]
    past = await world.ask(ReadPast(QUEUE, "one"))
    assert (len(past.handled), len(past.dead)) == (1, 1)
    assert await world.ask(IsServed(QUEUE))
    await world.ask(ReleaseLease(QUEUE, "one"))
    assert not await world.ask(IsServed(QUEUE))
    assert world.notices == []


@each_version
async def test_many_queues_heartbeats_and_identities_are_spread_over_the_nodes_in_one_batch(world):
    bots = [f"bot{n}" for n in range(30)]
    batch = [beat(bot) for bot in bots]
    batch += [PushMessage(Queue("bot", bot), bot, b'{"id": "x"}') for bot in bots]
    batch += [identity(f"p{n}") for n in range(30)]
    assert [answer for answer in await world.run(*batch) if isinstance(answer, Exception)] == []
    for name in (*(f"heartbeat:{bot}" for bot in bots), *(f"admin:queue:{bot}" for bot in bots)):
        assert world.cluster.at(name).ttl(name) > 0
    assert all(client.dbsize() >= 10 for client in world.cluster.clients)
    listed = await world.ask(ListHeartbeats())
    assert sorted(each.bot_id for each in listed) == sorted(bots)
    assert (await world.ask(ReadHeartbeat("bot3"))).bot_id == "bot3"
    found = await world.ask(ListIdentities(ROOM))
    assert sorted(each.participant_id for each in found) == sorted(f"p{n}" for n in range(30))
    assert (await world.ask(ReadIdentity(ROOM, "p3"))).participant_id == "p3"


async def test_what_a_command_does_in_one_slot_is_one_transaction(world):
    await world.store.ping()
    for client in world.cluster.clients:
        client.config_resetstat()
    await world.run(
        beat("bot"), PushMessage(QUEUE, "m", b"{}"), ReadHeartbeat("bot"), ReadIdentity(ROOM, "ann")
    )
    calls = Counter()
    for client in world.cluster.clients:
        stats = client.info("commandstats")
        calls.update({name: each["calls"] for name, each in stats.items() if name != "cmdstat_info"})
    # The heartbeat, its place in the index of the fleet, and the message with its bell.
    assert (calls["cmdstat_multi"], calls["cmdstat_exec"]) == (3, 3)
    assert calls["cmdstat_expire"] == 3
    assert (calls["cmdstat_set"], calls["cmdstat_publish"]) == (1, 1)


@each_version
async def test_a_late_identity_does_not_replace_a_newer_one_and_dangling_entries_go(world):
    late, newer = identity("ann", text="late"), identity("ann", text="newer")
    now_ms = int(time.time() * 1000)
    newer, late = (
        WriteIdentity(structs.replace(command.identity, updated_ms=now_ms - age_ms))
        for command, age_ms in ((newer, 1_000), (late, 2_000))
    )
    assert await world.run(newer, late, identity("bob")) == [None] * 3
    found = await world.ask(ListIdentities(ROOM))
    assert [each.participant_id for each in found] == ["ann", "bob"]
    assert b"newer" in bytes(found[0].data)
    world.cluster.at(f"identity:{ROOM}:ann").delete(f"identity:{ROOM}:ann")
    assert await world.ask(CleanUpIdentities(ROOM)) == 1
    assert [each.participant_id for each in await world.ask(ListIdentities(ROOM))] == ["bob"]


@each_version
async def test_identities_of_older_programs_are_found_on_every_node(world):
    names = [f"p{n}" for n in range(12)]
    for name in names:
        key, fields = f"identity:{ROOM}:{name}", {"participant_id": name, "room_url": ROOM}
        fields |= {"timestamp": "2030-01-01T00:00:00+00:00", "data": "{}"}
        world.cluster.at(key).hset(key, mapping=fields)
    for node in range(cluster_rig.NODES):  # so many keys that a SCAN has to go on
        tag = next(tag for tag in range(100) if world.cluster.owner(str(tag)) == node)
        world.cluster.clients[node].mset({f"other:{{{tag}}}:{number}": "" for number in range(6_000)})
    found = await world.ask(ListIdentities(ROOM))
    assert sorted(each.participant_id for each in found) == sorted(names)
    assert world.cluster.at(f"identity:{ROOM}:p3").ttl(f"identity:{ROOM}:p3") > 86_000


@each_version
async def test_a_bot_that_ended_is_forgotten_but_not_one_that_was_started_again(world):
    await world.run(beat("ended"), beat("again"))
    assert await world.ask(ForgetBot("ended", "i"))
    assert not await world.ask(ForgetBot("again", "another"))
    assert [each.bot_id for each in await world.ask(ListHeartbeats())] == ["again"]
    assert world.cluster.keys("*ended*") == set()


@each_version
async def test_a_value_of_the_wrong_type_is_moved_out_of_the_way_within_its_slot(world):
    for key in ("heartbeat:bot", "admin:queue:4711"):
        world.cluster.at(key).set(key, "somebody's mistake")
    assert await world.run(beat("bot"), PushMessage(QUEUE, "m", b"{}")) == [None, "redis"]
    for key in ("heartbeat:{heartbeat:bot}!bad", "admin:{admin:queue:4711}!bad"):
        assert world.cluster.at(key).get(key) == b"somebody's mistake"
        assert world.cluster.at(key).ttl(key) > 86_000
    assert len(world.notices) == 2


async def test_a_heartbeat_is_written_on_a_node_that_is_full(world):
    await world.ask(beat("bot"))
    owner = world.cluster.at("heartbeat:bot")
    owner.config_set("maxmemory", 1)
    try:
        await world.run(beat("bot"))
        owner.persist("heartbeat:bot")
        (answer,) = await world.run(beat("bot"))
        assert owner.ttl("heartbeat:bot") > 0  # it was written, and the caller heard of it all the same
        assert answer.diagnosis.kind is Kind.FULL
    finally:
        owner.config_set("maxmemory", 0)


async def test_a_room_whose_url_holds_braces_is_refused_in_one_sentence(world):
    queue = Queue("room", "https://example.test/{a}")
    answers = await world.run(PushMessage(queue, "m", b"{}"), PushMessage(QUEUE, "m", b"{}"))
    assert "a room whose URL holds braces has no queue on a Redis Cluster" in str(answers[0])
    assert not isinstance(answers[0], RedisUnavailable)
    assert answers[1] == "redis"


async def test_what_looks_is_spread_over_the_nodes(world):
    lists = [f"admin:queue:{n}" for n in range(20)]
    for name in lists[:7]:
        world.cluster.at(name).rpush(name, "x")
    looked = await world.store.look([("EXISTS", *lists), ("LLEN", lists[0]), ("LLEN", lists[19])])
    assert looked == [7, 1, 0]


async def test_the_users_of_docs_acl_and_the_rules_of_the_page_will_do(world):
    (rules,) = [code.split() for language, code in blocks(cluster_rig.PAGE) if language == "text"]
    (line,) = [
        line.removeprefix("user bot on ").split()
        for line in (ROOT / "docs" / "acl" / "redis-6.acl").read_text().splitlines()
        if line.startswith("user bot ")
    ]
    for client in world.cluster.clients:
        client.execute_command("ACL", "SETUSER", "bot", "on", ">secret", *line, *rules)
    to = (world.cluster.owner(Q) + 1) % cluster_rig.NODES
    source = world.cluster.begin_to_move(Q, to)
    try:
        url = world.cluster.url.replace("//", "//bot:secret@")
        batch = [beat("bot"), identity("ann"), PushMessage(QUEUE, "m", b"{}"), ListIdentities(ROOM)]
        answers = await world.run(*batch, store=world.new_store(url))
        assert [answer for answer in answers if isinstance(answer, Exception)] == []
        assert (answers[2], world.notices) == ("redis", [])
    finally:
        world.cluster.move_keys(Q, source, to)
        world.cluster.end_move(Q, to)
        for client in world.cluster.clients:
            client.execute_command("ACL", "DELUSER", "bot")


def test_the_variables_on_the_page_about_clusters_name_three_nodes():
    (code,) = [code for language, code in blocks(cluster_rig.PAGE) if language == "sh"]
    endpoint = endpoint_of(load_settings(variables(code)))
    assert (len(endpoint.nodes), endpoint.warnings) == (cluster_rig.NODES, ())


async def test_what_is_written_beside_a_loop_that_stands_still_is_written(world):
    endpoint = endpoint_of(world.settings())
    write = functools.partial(redis_aside.write, endpoint, None, lambda: {"mode": "redis"}, [beat("bot")])
    await anyio.to_thread.run_sync(write)
    assert (await world.ask(ReadHeartbeat("bot"))).bot_id == "bot"


async def test_a_cluster_tells_its_facts(world):
    facts = await world.ask(ReadFacts())
    assert (facts["mode"], facts["forbidden"]) == ("cluster", {})
    assert facts["info"]["cluster_enabled"] == "1"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_many_batches_at_once_keep_each_queues_order(world):
    queues = [Queue("bot", str(number)) for number in range(10)]
    async with anyio.create_task_group() as group:
        for turn in range(20):
            batch = [PushMessage(queue, "m", b'{"id": "%d"}' % turn) for queue in queues]
            group.start_soon(world.run, *batch)
            await anyio.lowlevel.checkpoint()
    for queue in queues:
        name = f"admin:queue:{queue.key}"
        found = [int(json.loads(raw)["id"]) for raw in world.cluster.at(name).lrange(name, 0, -1)]
        assert found == list(range(20))
