"""Two Redises that keep identities, for one model: one in memory, and a real one."""

import asyncio

from botvisor.actors.backend.redis import RedisStore
from botvisor.actors.backend.redis_endpoint import Endpoint
from botvisor.store import ReadIdentity
from botvisor.testing import MemoryStore

from .. import redis_world


class MemoryRedis:
    """A store in memory."""

    def __init__(self):
        self.loop = asyncio.Runner()
        self.store = MemoryStore(clock=lambda: 0.0)

    async def execute(self, commands):
        return await self.store.execute(commands)

    def run(self, command):
        (answer,) = self.loop.run(self.store.execute([command]))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def find(self, who):
        return self.run(ReadIdentity(*who))

    def lifetime_s(self, who):
        return self.store._identities[who][0]

    def delete(self, who):
        self.store._identities.pop(who, None)

    def forget(self):
        self.store = MemoryStore(clock=lambda: 0.0)

    def close(self):
        self.loop.close()


class RealRedis(MemoryRedis):
    """A real server, and redis-py on it: a program that is not ours."""

    def __init__(self):
        import redis

        self.loop = asyncio.Runner()
        server = self.loop.run(redis_world.server(redis_world.VERSIONS[-1]))
        self.client = redis.Redis(port=server.port, protocol=2)
        self.client.flushall()
        self.store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))

    def lifetime_s(self, who):
        return self.client.ttl(key_of(who))

    def delete(self, who):
        self.client.delete(key_of(who))

    def forget(self):
        self.client.flushall()

    def close(self):
        self.loop.run(self.store.aclose())
        self.client.close()
        super().close()


def key_of(who):
    return "identity:{}:{}".format(*who)
