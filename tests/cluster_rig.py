"""A real Redis Cluster for tests: three primaries on loopback, one cluster of each version for all tests.

The nodes are set up as docs/how-to/cluster.md says.

Take the fixtures over by their names: ``from . import cluster_rig`` and ``cluster = cluster_rig.cluster``. A
test that kills a node or moves a slot puts things right again; `Cluster.well` waits until they are.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

import pytest

from botvisor.actors.backend.cluster_map import SLOTS, slot_of
from botvisor.actors.backend.redis import RedisStore
from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.config import Settings
from botvisor.store import WriteHeartbeat

from . import redis_server
from .asking import Asking
from .bot_rig import until
from .readme import blocks
from .redis_bots import Place

NODES = 3
ROOM = "https://example.test/room"
PAGE = "docs/how-to/cluster.md"
(_LINES,) = [code for language, code in blocks(PAGE) if language == "conf"]
# So that a node counts as down sooner, and what it said it has it keeps.
LINES = (*_LINES.splitlines(), "cluster-node-timeout 1000", "appendfsync always")

_running = {}


class Cluster:
    """Three nodes that share the slots."""

    def __init__(self):
        self.servers = []
        self.clients = []
        self.ids = []

    def add(self, server):
        """Have one more node. Returns redis-py on it."""
        self.servers.append(server)
        self.clients.append(_client(server))
        return self.clients[-1]

    async def found(self):
        """Make a cluster of them."""
        share = -(-SLOTS // NODES)
        for number, client in enumerate(self.clients):
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
            client.cluster("ADDSLOTS", *range(number * share, min((number + 1) * share, SLOTS)))
            self.ids.append(client.cluster("MYID").decode())
        for client in self.clients[1:]:
            client.cluster("MEET", "127.0.0.1", self.servers[0].port)
        await self.well()

    async def well(self):
        """Wait until each node knows that all is well."""
        await until(lambda: all(map(self._is_well, range(NODES))), 20)

    def _is_well(self, number):
        import redis

        try:
            if self.clients[number].cluster("INFO")["cluster_state"] != "ok":
                return False
            ranges = self.clients[number].cluster("SLOTS")
        except redis.RedisError:
            return False
        size = sum(end - start + 1 for start, end, *_ in ranges)
        return size == SLOTS and len({port for _, _, (_, port, *_), *_ in ranges}) == NODES

    @property
    def url(self):
        """All nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def url_of(self, number):
        """One node, as if it were a server of its own."""
        return self.servers[number].url

    def owner(self, key):
        """The number of the node that has a key's slot, by what the first node says."""
        slot = slot_of(key.encode())
        for start, end, (_, port, *_), *_ in self.clients[0].cluster("SLOTS"):
            if start <= slot <= end:
                return next(n for n, server in enumerate(self.servers) if server.port == port)
        raise AssertionError(f"nobody has {key}")

    def at(self, key):
        """redis-py on the node that has a key: a program that is not ours."""
        return self.clients[self.owner(key)]

    def keys(self, pattern="*"):
        """All keys of all nodes."""
        return {key.decode() for client in self.clients for key in client.scan_iter(pattern, count=1000)}

    def begin_to_move(self, key, to):
        """Let a key's slot be on its way to another node; what is in it stays for now."""
        slot, source = slot_of(key.encode()), self.owner(key)
        self.clients[to].cluster("SETSLOT", slot, "IMPORTING", self.ids[source])
        self.clients[source].cluster("SETSLOT", slot, "MIGRATING", self.ids[to])
        return source

    def move_keys(self, key, source, to):
        """Move what is in a key's slot; a key that comes there meanwhile is at its new node at once."""
        slot = slot_of(key.encode())
        while found := self.clients[source].cluster("GETKEYSINSLOT", slot, 100):
            self.clients[source].execute_command(
                "MIGRATE", "127.0.0.1", self.servers[to].port, "", 0, 5000, "KEYS", *found
            )

    async def add_replica(self, folder, of):
        """Have a fourth node, the last one, that follows another."""
        client = self.add(await redis_server.start_server(redis_server.need(), folder, LINES))
        client.cluster("MEET", "127.0.0.1", self.servers[of].port)
        # They vote for nobody whom they do not know.
        await until(lambda: all(len(each.cluster("NODES")) == NODES + 1 for each in self.clients), 20)
        client.cluster("REPLICATE", self.ids[of])
        await until(lambda: client.info("replication").get("master_link_status") == "up", 20)
        await until(lambda: all(map(_knows_a_replica, self.clients)), 20)

    def end_move(self, key, to):
        """Let a slot be at its new node."""
        slot = slot_of(key.encode())
        for client in (self.clients[to], *self.clients):
            client.cluster("SETSLOT", slot, "NODE", self.ids[to])

    def empty(self):
        for client in self.clients:
            client.flushall()
            client.script_flush()

    def close(self):
        for client in self.clients:
            client.close()
        for server in self.servers:
            server.close()


def _knows_a_replica(client):
    return any("slave" in node["flags"] for node in client.cluster("NODES").values())


def _client(server):
    import redis

    # Or else it waits for seconds for a node that was killed, and our event loop with it.
    at_once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    return redis.Redis(port=server.port, protocol=2, retry=at_once)


async def founded(program, folder):
    """Return a new cluster of a program's servers; whoever calls this closes it."""
    cluster = Cluster()
    try:
        for number in range(NODES):
            cluster.add(await redis_server.start_server(program, folder / str(number), LINES))
        await cluster.found()
    except BaseException:
        cluster.close()
        raise
    return cluster


async def running(name):
    """Return the running cluster of a version; it ends with the tests."""
    program = redis_server.need(name)
    if program not in _running:
        folder = Path(tempfile.mkdtemp(prefix="cluster-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _running[program] = await founded(program, folder)
        atexit.register(_running[program].close)
    return _running[program]


def beat(bot_id):
    fields = {"pid": b"1", "room_url": b"", "participants": b"[]", "timestamp": b"2030-01-01T00:00:00+00:00"}
    return WriteHeartbeat(bot_id, {**fields, "bot_id": bot_id.encode(), "instance": b"i"})


class ClusterWorld(Asking):
    """A cluster, stores on it, and the directories of one host."""

    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.folder = folder
        self.notices = []
        self.stores = []
        self.store = self.new_store()

    def new_store(self, url=None):
        """Return a store of another process, as it were."""
        endpoint = endpoint_of(Settings(use_redis=True, redis_url=url or self.cluster.url_of(0)))
        self.stores.append(RedisStore(endpoint, lambda level, text: self.notices.append((level, text))))
        return self.stores[-1]

    def settings(self, url=None, **more):
        place = Place(self.cluster.servers[0], self.folder)
        place.redis.close()
        return place.settings(url=url or self.cluster.url_of(0), **more)

    def die(self):
        """Let a process die for so long that its leases run out."""
        for key in self.cluster.keys("admin:owner:*"):
            self.cluster.at(key).delete(key)

    async def aclose(self):
        for store in self.stores:
            await store.aclose()


async def world_on(name, folder):
    """Return a `ClusterWorld` on the emptied cluster of a version."""
    cluster = await running(name)
    await cluster.well()
    cluster.empty()
    return ClusterWorld(cluster, folder)


@pytest.fixture
async def own_world(tmp_path):
    """A `ClusterWorld` on a cluster of the test's own."""
    # Not tmp_path: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        cluster = await founded(redis_server.need(), Path(folder))
        made = ClusterWorld(cluster, tmp_path)
        made.servers_in = Path(folder)
        try:
            yield made
        finally:
            await made.aclose()
            cluster.close()


@pytest.fixture
async def world(request, tmp_path):
    """A `ClusterWorld` on an emptied cluster; parametrise it indirectly with a version's name."""
    made = await world_on(getattr(request, "param", None), tmp_path)
    yield made
    await made.aclose()
