"""The guide's `redis_client`: one asynchronous client for each event loop."""

from __future__ import annotations

from botvisor.config import load_settings
from botvisor.shared import join

from .client import RedisClient as RedisClient

_GUEST = "redis_client"


async def get_redis_client() -> RedisClient:
    """Return the event loop's client, for the settings that the environment holds now.

    It is opened if need be, and lives until its `close`, or as long as the event loop. It serves this event
    loop alone. With `USE_REDIS` off it keeps to files.

    Raises:
        SettingsError: when the environment holds bad values.
        StartFailed: when what it runs on did not start.
    """
    shared = await join(load_settings())
    client: RedisClient | None = shared.guests.get(_GUEST)
    if client is None or client.closed:
        client = shared.guests[_GUEST] = RedisClient(shared.supervisor, shared.leave)
    else:
        await shared.leave()  # the client itself is a user
    return client


async def check_redis_available() -> bool:
    """Return whether Redis is to be used, and answers.

    Raises:
        SettingsError: when the environment holds bad values.
    """
    if not load_settings().use_redis:
        return False
    client = await get_redis_client()
    return await client.ping()
