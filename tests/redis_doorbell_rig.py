"""A doorbell on a real Redis, for tests."""

import contextlib

import anyio

from botvisor.actors.backend.link import Link
from botvisor.actors.backend.redis_doorbell import RedisDoorbell
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.actors.backend.redis_errors import LinkLost
from botvisor.store import Queue
from botvisor.wire import control_key

from .doorbell_rig import Bell

ROOM = "https://example.test/room"
QUEUE = Queue("bot", "4711")
CHANNEL, Q = "admin:bot:4711", "admin:queue:4711"
CTL = control_key(Q)


async def away(_commands):
    """The store's link while Redis is not in use: no safety net."""
    raise LinkLost("nowhere", "away")


class Asker:
    """The store's link, opened anew when it broke."""

    def __init__(self, server):
        self.endpoint = Endpoint(host="127.0.0.1", port=server.port)
        self.link = None
        self.asked = []

    async def __call__(self, commands):
        if self.link is None or self.link.broken:
            self.link = await Link.open(self.endpoint, connect_timeout_s=1)
        self.asked.append(commands)
        with anyio.fail_after(2):
            return await self.link.execute(commands)


class Tower:
    """A server, a doorbell on it, and a program that is not ours."""

    def __init__(self, server, ask, port):
        import redis

        self.server = server
        self.client = redis.Redis(port=server.port, protocol=2)
        self.told = []
        self.doorbell = RedisDoorbell(
            Endpoint(host="127.0.0.1", port=port or server.port),
            ask,
            notify=lambda level, text: self.told.append((level, text)),
        )

    def subscribe(self, target):
        bell = Bell()
        bell.end = self.doorbell.subscribe(target, bell.ring)
        return bell

    def listeners(self, channel=CHANNEL):
        return dict(self.client.pubsub_numsub(channel))[channel.encode()]

    def connections(self):
        return [each["id"] for each in self.client.client_list() if each["name"] == "botvisor-bell"]

    def heard_of(self, words):
        return any(words in text for _, text in self.told)

    def warnings(self):
        return [text for level, text in self.told if level != "DEBUG"]

    async def until(self, condition):
        await self.server.until(condition)


@contextlib.asynccontextmanager
async def ringing(server, *targets, ask=away, port=None, listening=True):
    """A doorbell that runs; yields it with a bell for each target, once its channels are confirmed."""
    tower = Tower(server, ask, port)
    bells = [tower.subscribe(target) for target in targets]
    with contextlib.closing(tower.client):
        async with anyio.create_task_group() as group:
            started = anyio.Event()
            group.start_soon(tower.doorbell.run, started.set)
            with anyio.fail_after(1):
                await started.wait()
            queues = [bell for bell, at in zip(bells, targets, strict=True) if isinstance(at, Queue)]
            if listening:
                await tower.until(lambda: all(bell.count >= 2 for bell in queues))
            for bell in bells:
                await bell.rings()  # for the start
            yield tower, *bells
            group.cancel_scope.cancel()
        if isinstance(ask, Asker) and ask.link is not None:
            await ask.link.aclose()
