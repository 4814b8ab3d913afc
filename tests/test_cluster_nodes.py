"""The store's links to the nodes of a real Redis Cluster: slots move, and nodes are gone."""

import anyio

from botvisor.actors.backend.cluster_map import slot_of
from botvisor.store import AcquireLease, Done, NextMessage, PushMessage

from . import cluster_rig, redis_server, redis_world
from .cluster_rig import beat
from .redis_world import ONE, QUEUE, Q

world = cluster_rig.world
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


async def test_a_new_link_has_the_old_ones_killed_on_each_node(world):
    await world.ask(beat("bot"))
    old = {node: fence.client_id for node, fence in world.store.link.fences.items()}
    for link in world.store.link.links:
        link.broken = True  # as after an error: the server has not noticed yet
    await world.ask(beat("bot"))
    for client in world.cluster.clients:
        ids = {int(each["id"]) for each in client.client_list() if each["name"] == "botvisor"}
        port = client.connection_pool.connection_kwargs["port"]
        assert ids & {number for node, number in old.items() if node.port == port} == set()
        assert len(ids) == 1
