"""botvisor as its users have it: the guide's client, and the API of bots and operators."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from botvisor import Bot, Client, open_bot, open_client
from botvisor.compat.redis_client import RedisClient, get_redis_client
from botvisor.config import load_settings

from .operations import DATA, PARTICIPANTS, ROOM, TEXT
from .program import settings

OURS = "botvisor"
OUR_API = "botvisor, Bot and Client"


class Guide:
    """The guide's client, with all it does besides: indexes, bells, the breaker, the deadline."""

    def __init__(self, client: RedisClient) -> None:
        self.client = client

    async def heartbeat(self, pid: int) -> None:
        await self.client.send_heartbeat(pid, ROOM, PARTICIPANTS)

    async def write_identity(self, pid: int) -> None:
        await self.client.write_identity(ROOM, str(pid), DATA)

    async def read_identity(self, pid: int) -> None:
        identity = await self.client.read_identity(ROOM, str(pid))
        if identity is None or identity["sessionUserName"] != DATA["sessionUserName"]:
            raise AssertionError(identity)

    async def send(self, pid: int) -> None:
        await self.client.send_admin_message(pid, TEXT)


class Api:
    """What bots and operators call; a bot's heartbeats are its own affair there."""

    def __init__(self, bot: Bot, client: Client) -> None:
        self._bot = bot
        self._client = client

    async def write_identity(self, pid: int) -> None:
        await self._bot.identities.write(str(pid), DATA)

    async def send(self, pid: int) -> None:
        await self._client.send(str(pid), TEXT)


@contextlib.asynccontextmanager
async def open_guide(folder: Path, url: str = "") -> AsyncIterator[Guide]:
    """Open the guide's client: on Redis at an address, or without one on the files of a folder."""
    environment = settings(folder, url)
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        client = await get_redis_client()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    try:
        yield Guide(client)
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def open_api(folder: Path, url: str = "") -> AsyncIterator[Api]:
    """Open a bot in a room and an operator's client; see `open_guide`."""
    its = load_settings(settings(folder, url))
    async with open_bot(room_url=ROOM, bot_id="bench", settings=its) as bot, open_client(its) as client:
        yield Api(bot, client)
