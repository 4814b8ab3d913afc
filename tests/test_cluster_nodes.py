"""The store's links to the nodes of a real Redis Cluster: slots move, and nodes are gone."""

import anyio
import pytest

from botvisor.actors.backend.cluster_map import slot_of
from botvisor.actors.backend.redis_connector import Connector
from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.actors.backend.redis_errors import LinkLost
from botvisor.actors.backend.redis_notices import Notices
from botvisor.config import Settings
from botvisor.store import AcquireLease, Done, NextMessage, PushMessage

from . import cluster_rig, redis_server, redis_world
from .cluster_rig import beat
from .redis_world import ONE, QUEUE, Q

world = cluster_rig.world
pytestmark = pytest.mark.xdist_group("cluster")  # each worker would found clusters of its own
anyio_backend = redis_world.one_loop


async def test_a_slot_that_has_moved_is_found_and_what_is_on_its_way_too(world):
    cluster = world.cluster
    await world.run(AcquireLease(QUEUE, ONE), PushMessage(QUEUE, "m", b'{"id": "first"}'))
    to = (cluster.owner(Q) + 1) % cluster_rig.NODES
    source = cluster.begin_to_move(Q, to)
    try:
        # It has not moved yet, but a key that is not there is asked for where it will be.
        other = PushMessage(QUEUE, "m", b'{"id": "second"}')
        assert await world.run(other) == ["redis"]
        cluster.move_keys(Q, source, to)
        assert await world.run(PushMessage(QUEUE, "m", b'{"id": "third"}')) == ["redis"]
    finally:
        cluster.move_keys(Q, source, to)
        cluster.end_move(Q, to)
    assert await world.run(PushMessage(QUEUE, "m", b'{"id": "fourth"}')) == ["redis"]
    assert cluster.owner(Q) == to
    assert world.store.link.map.node_of(slot_of(Q.encode())).port == cluster.servers[to].port
    texts = []
    claim = await world.ask(NextMessage(QUEUE, "one", "try", None))
    while claim is not None:
        texts.append(claim.raw)
        claim = await world.ask(NextMessage(QUEUE, "one", "try", Done(claim.token, "x")))
    assert texts == [b'{"id": "%b"}' % name for name in (b"first", b"second", b"third", b"fourth")]


async def test_a_script_whose_keys_are_on_their_way_waits_until_they_have_come(world):
    cluster = world.cluster
    await world.run(AcquireLease(QUEUE, ONE), PushMessage(QUEUE, "m", b'{"id": "first"}'))
    to = (cluster.owner(Q) + 1) % cluster_rig.NODES
    source = cluster.begin_to_move(Q, to)
    try:
        (answer,) = await world.run(NextMessage(QUEUE, "one", "try", None))
        assert answer.diagnosis.reason.startswith("TRYAGAIN")
        assert answer.diagnosis.worth_retrying
        async with anyio.create_task_group() as group:
            claims = []

            async def claim():
                claims.append(await world.ask(NextMessage(QUEUE, "one", "try", None)))

            group.start_soon(claim)
            await anyio.sleep(0.02)
            cluster.move_keys(Q, source, to)
            cluster.end_move(Q, to)
    finally:
        cluster.move_keys(Q, source, to)
        cluster.end_move(Q, to)
    assert claims[0].raw == b'{"id": "first"}'


async def test_nodes_that_do_not_agree_are_not_ready(world):
    cluster = world.cluster
    source = cluster.owner(Q)
    other, slot = (source + 1) % cluster_rig.NODES, slot_of(Q.encode())
    cluster.clients[source].cluster("SETSLOT", slot, "NODE", cluster.ids[other])  # who knows nothing of it
    try:
        refused, good = await world.run(PushMessage(QUEUE, "m", b"{}"), beat("bot"))
        assert refused.diagnosis.reason.startswith("TRYAGAIN it was sent from node to node: MOVED")
        assert refused.diagnosis.worth_retrying
        assert good is None
    finally:
        cluster.end_move(Q, source)
    assert await world.run(PushMessage(QUEUE, "m", b"{}")) == ["redis"]


async def test_any_node_of_the_url_will_do_and_the_others_are_learned(world):
    cluster = world.cluster
    gone = f"redis+cluster://127.0.0.1:{redis_server.free_port()},127.0.0.1:{cluster.servers[2].port}"
    for url in (gone, cluster.url_of(1), f"redis://localhost:{cluster.servers[0].port}"):
        store = world.new_store(url)
        assert await world.run(PushMessage(QUEUE, "m", b"{}"), store=store) == ["redis"]
        names = [client.client_list() for client in cluster.clients]
        assert len(store.link.links) == cluster_rig.NODES
        assert all(any(each["name"] == "botvisor" for each in of_one) for of_one in names)
        await store.ping()
        await store.aclose()


async def test_new_links_have_the_old_ones_killed_on_each_node(world):
    endpoint = endpoint_of(Settings(use_redis=True, redis_url=world.cluster.url))
    notices = Notices(lambda _level, text: world.notices.append(text))
    connector = Connector(endpoint, notices, connect_timeout_s=5, name="fenced")
    old = await connector.connect()
    connector.left(old)  # and it may still send something
    new = await connector.connect()
    assert len(new.links) == len(old.links) == cluster_rig.NODES
    for link in old.links:
        with pytest.raises(LinkLost):
            await link.execute([("PING",)])
    assert await new.look([("EXISTS", "a", "b", "c", "d")]) == [0]
    for carrier in (old, new):
        await carrier.link.aclose()
    assert world.notices == []
