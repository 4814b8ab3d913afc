"""Redis for tests of the store: one server of each version for all tests, emptied before each.

Take the fixtures over by their names: ``from . import redis_world`` and ``redis = redis_world.redis``.
"""

import atexit
import shutil
import tempfile
from pathlib import Path

import hiredis
import pytest

from botvisor.actors.backend.link import Link
from botvisor.actors.backend.packed import Packed
from botvisor.actors.backend.redis import RedisStore
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.process import own
from botvisor.store import AcquireLease, NextMessage, PushMessage, Queue

from . import redis_server
from .asking import Asking

VERSIONS = redis_server.versions()
QUEUE = Queue("bot", "4711")
Q = "admin:queue:4711"
ROOM = "https://example.test/room"
ONE = own("4711", "one")
TWO = own("4711", "two")

_running = {}


async def server(name):
    """Return the running server of a version; it ends with the tests."""
    if name not in _running:
        program = redis_server.need(name)
        folder = tempfile.mkdtemp(prefix="redis-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        _running[name] = redis_server.RedisServer(program, Path(folder, "server"))
        atexit.register(_running[name].close)
        await _running[name].start()
    return _running[name]


class RedisWorld(Asking):
    """A store on a server, and redis-py on the same server: a program that is not ours."""

    def __init__(self, server):
        import redis

        self.server = server
        self.notices = []
        self.stores = []
        self.client = redis.Redis(port=server.port, protocol=2)
        self.client.flushall()
        self.client.script_flush()
        self.store = self.new_store()

    def new_store(self, **endpoint):
        """Return a store of another process, as it were."""
        where = Endpoint(**{"host": "127.0.0.1", "port": self.server.port, **endpoint})
        self.stores.append(RedisStore(where, lambda level, text: self.notices.append((level, text))))
        return self.stores[-1]

    async def push(self, raw, message_id="m", queue=QUEUE):
        return await self.ask(PushMessage(queue, message_id, raw))

    async def lease(self, owner=ONE, queue=QUEUE):
        return await self.ask(AcquireLease(queue, owner))

    async def take(self, done=None, *, instance="one", attempt="first", queue=QUEUE):
        return await self.ask(NextMessage(queue, instance, attempt, done))

    def die(self):
        """Let a process die for so long that its leases run out."""
        for key in self.client.scan_iter("admin:owner:*"):
            self.client.delete(key)

    def without_lifetime(self):
        """Return every key that would live for ever."""
        return [key for key in self.client.scan_iter(count=1000) if self.client.ttl(key) == -1]

    async def aclose(self):
        for store in self.stores:
            await store.aclose()
        self.client.close()


@pytest.fixture(params=VERSIONS)
async def redis(request):
    """A `RedisWorld` on each version in turn."""
    world = RedisWorld(await server(request.param))
    yield world
    await world.aclose()


@pytest.fixture
def one_loop():
    """One event loop, in place of `anyio_backend`: for what does not depend on it."""
    return "asyncio"


def words_of(command):
    """Return a command, or all that were packed already, as tuples of words."""
    if not isinstance(command, Packed):
        return [command]
    reader = hiredis.Reader()
    reader.feed(command.data)
    return [tuple(reader.gets()) for _ in range(command.count)]


@pytest.fixture
def round_trips(monkeypatch):
    """The batches that went over links, as they went: a list of lists of commands."""
    sent = []
    execute = Link.execute

    async def counted(link, commands):
        sent.append([command for each in commands for command in words_of(each)])
        return await execute(link, commands)

    monkeypatch.setattr(Link, "execute", counted)
    return sent
