"""Other clients of Redis: redis-py as the original uses it and at its best, coredis, valkey-glide."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio

from .operations import (
    ADMIN_TTL_S,
    HEARTBEAT_TTL_S,
    IDENTITY_TTL_S,
    admin_message,
    channel,
    check_identity,
    heartbeat_fields,
    heartbeat_key,
    identity_fields,
    identity_key,
    queue_key,
)

ORIGINAL = "original pattern"
PIPELINES = "redis-py pipelines"
COREDIS = "coredis"
GLIDE = "valkey-glide"
GLIDE_BATCH = "valkey-glide batches"

_CONNECTIONS = 10_000
_GLIDE_TIMEOUT_MS = 10_000


class Original:
    """redis-py, one `await` per command: what botvisor is compared with."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._redis: Any = client  # typed upstream as if it might not be asynchronous

    async def heartbeat(self, pid: int) -> None:
        await self._redis.hset(heartbeat_key(pid), mapping=heartbeat_fields(pid))
        await self._redis.expire(heartbeat_key(pid), HEARTBEAT_TTL_S)

    async def write_identity(self, pid: int) -> None:
        await self._redis.hset(identity_key(pid), mapping=identity_fields(pid))
        await self._redis.expire(identity_key(pid), IDENTITY_TTL_S)

    async def read_identity(self, pid: int) -> None:
        check_identity(await self._redis.hgetall(identity_key(pid)))

    async def send(self, pid: int) -> None:
        await self.send_text(pid, admin_message())

    async def send_text(self, pid: int, text: str) -> None:
        """Send what is a message already."""
        await self._redis.rpush(queue_key(pid), text)
        await self._redis.expire(queue_key(pid), ADMIN_TTL_S)
        await self._redis.publish(channel(pid), text)


class Pipelines(Original):
    """redis-py, the commands of an operation in one transaction: what the original could be."""

    async def heartbeat(self, pid: int) -> None:
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(heartbeat_key(pid), mapping=heartbeat_fields(pid))
            pipeline.expire(heartbeat_key(pid), HEARTBEAT_TTL_S)
            await pipeline.execute()

    async def write_identity(self, pid: int) -> None:
        async with self._redis.pipeline() as pipeline:
            pipeline.hset(identity_key(pid), mapping=identity_fields(pid))
            pipeline.expire(identity_key(pid), IDENTITY_TTL_S)
            await pipeline.execute()

    async def send(self, pid: int) -> None:
        message = admin_message()
        async with self._redis.pipeline() as pipeline:
            pipeline.rpush(queue_key(pid), message)
            pipeline.expire(queue_key(pid), ADMIN_TTL_S)
            pipeline.publish(channel(pid), message)
            await pipeline.execute()


class OneByOne:
    """One `await` per command, under the names that coredis and valkey-glide give them."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    async def heartbeat(self, pid: int) -> None:
        await self._redis.hset(heartbeat_key(pid), heartbeat_fields(pid))
        await self._redis.expire(heartbeat_key(pid), HEARTBEAT_TTL_S)

    async def write_identity(self, pid: int) -> None:
        await self._redis.hset(identity_key(pid), identity_fields(pid))
        await self._redis.expire(identity_key(pid), IDENTITY_TTL_S)

    async def read_identity(self, pid: int) -> None:
        check_identity(await self._redis.hgetall(identity_key(pid)))

    async def send(self, pid: int) -> None:
        message = admin_message()
        await self._redis.rpush(queue_key(pid), [message])
        await self._redis.expire(queue_key(pid), ADMIN_TTL_S)
        await self._publish(channel(pid), message)

    async def _publish(self, to: str, message: str) -> None:
        raise NotImplementedError


class Coredis(OneByOne):
    """coredis."""

    async def _publish(self, to: str, message: str) -> None:
        await self._redis.publish(to, message)


class Glide(OneByOne):
    """valkey-glide; its core is written in Rust."""

    async def _publish(self, to: str, message: str) -> None:
        await self._redis.publish(message, to)


class GlideBatch(Glide):
    """valkey-glide, the commands of an operation as one transaction."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        from glide import Batch

        self._new_batch = Batch

    async def heartbeat(self, pid: int) -> None:
        batch = self._new_batch(is_atomic=True)
        batch.hset(heartbeat_key(pid), heartbeat_fields(pid))
        batch.expire(heartbeat_key(pid), HEARTBEAT_TTL_S)
        await self._redis.exec(batch, raise_on_error=True)

    async def write_identity(self, pid: int) -> None:
        batch = self._new_batch(is_atomic=True)
        batch.hset(identity_key(pid), identity_fields(pid))
        batch.expire(identity_key(pid), IDENTITY_TTL_S)
        await self._redis.exec(batch, raise_on_error=True)

    async def send(self, pid: int) -> None:
        message = admin_message()
        batch = self._new_batch(is_atomic=True)
        batch.rpush(queue_key(pid), [message])
        batch.expire(queue_key(pid), ADMIN_TTL_S)
        batch.publish(message, channel(pid))
        await self._redis.exec(batch, raise_on_error=True)


@contextlib.asynccontextmanager
async def open_redis_py(port: int, *, limited: bool = False) -> AsyncIterator[redis.asyncio.Redis]:
    """Open redis-py's client.

    Args:
        port: the server's.
        limited: with its default pool, which refuses the 101st caller.
    """
    options = {} if limited else {"max_connections": _CONNECTIONS}
    client = redis.asyncio.Redis(port=port, **options)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def open_coredis(port: int) -> AsyncIterator[Coredis]:
    """Open coredis' client.

    Raises:
        ImportError: when it is not installed.
    """
    import coredis

    async with coredis.Redis(port=port, max_connections=_CONNECTIONS) as client:
        yield Coredis(client)


@contextlib.asynccontextmanager
async def open_glide(port: int) -> AsyncIterator[Any]:
    """Open valkey-glide's client.

    Raises:
        ImportError: when it is not installed.
    """
    import glide

    glide.Logger.set_logger_config(glide.LogLevel.ERROR)
    configuration = glide.GlideClientConfiguration(
        [glide.NodeAddress("127.0.0.1", port)],
        request_timeout=_GLIDE_TIMEOUT_MS,
        inflight_requests_limit=_CONNECTIONS,
    )
    client = await glide.GlideClient.create(configuration)
    try:
        yield client
    finally:
        await client.close()
