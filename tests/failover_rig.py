"""What the tests of fail-over share: a store over a real server and real directories, and its log lines."""

import contextlib
import json
import os
from types import SimpleNamespace

import anyio
import msgspec
import pytest
from loguru import logger

from botvisor.actors.backend import breaker
from botvisor.actors.backend.failover import FailoverStore
from botvisor.actors.backend.files import FileStore
from botvisor.actors.backend.redis import RedisStore
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.actors.backend.spool_names import is_forwarded
from botvisor.config import Settings
from botvisor.identities import new_identity
from botvisor.logs import Log
from botvisor.process import own
from botvisor.store import PushMessage, Queue, ReadHeartbeat, WriteHeartbeat, WriteIdentity

from .asking import Asking

ROOM = "https://example.test/room"
QUEUE = Queue("bot", "4711")
LIST = "admin:queue:4711"


class RedisQueue(Queue, frozen=True):
    """A queue whose commands are for Redis alone, as an inbox's are."""

    store: str = "redis"


LANE = RedisQueue("bot", "4711")
ONE = own("4711", "one")
TWO = own("4711", "two")
LOOK = ReadHeartbeat("nobody")


def beat(bot_id="4711", **fields):
    base = {"pid": b"4711", "room_url": b"", "participants": b"[]", "timestamp": b"2030-01-01T00:00:00+00:00"}
    return WriteHeartbeat(bot_id, {**base, "bot_id": bot_id.encode(), **fields})


def identity(name="Ann", writer="writer"):
    return WriteIdentity(new_identity(ROOM, "ann", {"name": name}, writer))


def push(message_id="m", queue=QUEUE):
    raw = msgspec.json.encode({"id": message_id, "message": "hi", "room_url": ROOM})
    return PushMessage(queue, message_id, raw)


class FailoverRig(Asking):
    """A fail-over store of its own process, as it were; every rig of a test shares directories and server.

    Args:
        server: the server.
        root: the directories' parent; None for no files.
        endpoint: more about the endpoint.
    """

    def __init__(self, server, root, **endpoint):
        self.server = server
        self._client = None
        self.admin = root / "admin" if root is not None else None
        self.redis = RedisStore(Endpoint(**{"host": "127.0.0.1", "port": server.port, **endpoint}))
        self.files = None
        if root is not None:
            folders = {name: root / name.partition("_")[0] for name in FOLDERS}
            self.files = FileStore(Settings(**folders), beside_redis=True)
        self.log = Log("redis")
        self.store = FailoverStore(self.redis, self.files, self.log, seed=1)

    @property
    def mode(self):
        return self.store.state()["mode"]

    async def lose(self):
        """Ask until it keeps to the files."""
        while self.mode == "redis":
            await self.run(LOOK)

    async def until(self, mode):
        """Wait, with `run` beside it, until it is in a mode."""
        with anyio.fail_after(20):
            while True:
                if self.mode == mode:
                    return
                await anyio.sleep(0.02)

    async def back(self):
        """Do what `run` does until Redis is in use again."""
        with anyio.fail_after(30):
            while self.mode != "redis":
                wait_s = await self.store.tend()
                await anyio.sleep(min(wait_s, 0.1))

    def client(self):
        """Return redis-py on the same server: a program that is not ours."""
        if self._client is None:
            import redis

            self._client = redis.Redis(port=self.server.port, protocol=2)
        return self._client

    def spooled(self):
        """The names of all files that hold messages or controls, forwarded or not."""
        return sorted(path.name for path in self.admin.glob("*.json"))

    def waiting(self):
        return [name for name in self.spooled() if not is_forwarded(name)]

    def forwarded(self):
        return [name for name in self.spooled() if is_forwarded(name)]

    async def tend_again(self, times=1):
        """Tend as if so much time had passed that what was forwarded is to be looked after again."""
        for _ in range(times):
            for name in self.forwarded():
                written_ns = (self.admin / name).stat().st_mtime_ns
                os.utime(self.admin / name, ns=(written_ns, written_ns))
            await self.store.tend()

    def on_redis(self, key="4711"):
        return [json.loads(raw)["id"] for raw in self.client().lrange(f"admin:queue:{key}", 0, -1)]

    async def aclose(self):
        if self._client is not None:
            self._client.close()
        await self.store.aclose()
        if self.files is not None:
            self.files.close()


FOLDERS = ("admin_message_dir", "heartbeat_dir", "identity_dir")


@pytest.fixture
async def rigs(tmp_path):
    """Make rigs: ``rigs(server, files=True, **endpoint)``."""
    made = []

    def make(server, *, files=True, **endpoint):
        made.append(FailoverRig(server, tmp_path if files else None, **endpoint))
        return made[-1]

    yield make
    for rig in made:
        await rig.aclose()


@pytest.fixture
def probed_soon(monkeypatch):
    """Let Redis be tried again soon after it was left, for tests of what follows when it is back."""
    monkeypatch.setattr(breaker, "WAITS_S", (0.05,))


@contextlib.asynccontextmanager
async def running(rig):
    """Let its `run` run for as long as the block lasts."""
    async with anyio.create_task_group() as group:
        await group.start(_run, rig.store)
        yield rig
        group.cancel_scope.cancel()


async def _run(store, *, task_status):
    await store.run(task_status.started)


@pytest.fixture
def lines():
    """The lines that were logged, as (level, text)."""
    seen = []
    sink = logger.add(
        lambda m: seen.append(SimpleNamespace(level=m.record["level"].name, text=m.record["message"]))
    )
    yield seen
    logger.remove(sink)


def of_level(lines, level):
    return [line.text for line in lines if line.level == level]
