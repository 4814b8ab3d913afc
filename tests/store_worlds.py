"""Every store, for the contract that all of them keep."""

import anyio
import msgspec
import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    Done,
    NextMessage,
    PushMessage,
    Queue,
    ReadReceipt,
)
from botvisor.testing.memory import MemoryStore
from botvisor.wire import LEASE_TTL_S

from . import cluster_rig
from .redis_world import VERSIONS, RedisWorld, server

QUEUE = Queue("bot", "bot-1")
ROOM = "https://example.test/room"
ONE = own("bot-1", "one")
TWO = own("bot-1", "two")


class MemoryWorld:
    """A store in memory; a process that dies is one whose lease runs out."""

    def __init__(self, _tmp_path):
        self.now = 0.0
        self.store = MemoryStore(clock=lambda: self.now)

    def die(self):
        self.now += LEASE_TTL_S + 1

    async def aclose(self):
        pass


class FileWorld:
    """Files in a directory of the test's own; a process that dies lets go of its locks."""

    def __init__(self, tmp_path):
        self.settings = Settings(
            admin_message_dir=tmp_path / "admin",
            heartbeat_dir=tmp_path / "heartbeats",
            identity_dir=tmp_path / "identities",
        )
        self.store = FileStore(self.settings)

    def die(self):
        self.store.close()
        self.store = FileStore(self.settings)

    async def aclose(self):
        self.store.close()


@pytest.fixture(params=["memory", "files", *VERSIONS, "cluster"])
async def world(request, tmp_path):
    match request.param:
        case "memory":
            world = MemoryWorld(tmp_path)
        case "files":
            world = FileWorld(tmp_path)
        case "cluster":
            world = await cluster_rig.world_on(None, tmp_path)
        case version:
            world = RedisWorld(await server(version))
    yield world
    await world.aclose()


async def ask(world, command):
    """Carry one command out: return its result or raise its error."""
    with anyio.fail_after(10):
        (answer,) = await world.store.execute([command])
    if isinstance(answer, Exception):
        raise answer
    return answer


def message(message_id, **fields):
    return msgspec.json.encode({"id": message_id, "message": "hello", **fields})


async def push(world, *ids, queue=QUEUE):
    for message_id in ids:
        await ask(world, PushMessage(queue, message_id, message(message_id)))


async def lease(world, owner=ONE, queue=QUEUE):
    return await ask(world, AcquireLease(queue, owner))


async def take(world, done=None, *, instance="one", attempt="first", queue=QUEUE):
    return await ask(world, NextMessage(queue, instance, attempt, done))


def done_with(claim):
    return Done(claim.token, msgspec.json.decode(claim.raw).get("id", claim.name))


async def receipt(world, message_id, queue=QUEUE):
    return await ask(world, ReadReceipt(queue, message_id))
