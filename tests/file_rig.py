"""What the tests of the store on files share."""

import os
import time

import anyio
import msgspec
import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identity import Identity
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Done,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    WriteHeartbeat,
    WriteIdentity,
)

QUEUE = Queue("bot", "4711")
ROOM = "https://example.test/room"
ONE = own("4711", "one")
TWO = own("4711", "two")
GOOD = b'{"message": "hello"}'
CUT = b'{"message": "cut o'

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


class Files:
    """A file store over the test's own directories, and what it told."""

    def __init__(self, root):
        self.root = root
        self.admin = root / "admin"
        self.heartbeats = root / "heartbeats"
        self.identities = root / "identities"
        self.settings = Settings(
            admin_message_dir=self.admin, heartbeat_dir=self.heartbeats, identity_dir=self.identities
        )
        self.told = []
        self.store = self.new_store()

    def new_store(self):
        return FileStore(self.settings, lambda level, text: self.told.append((level, text)))

    async def ask(self, command):
        with anyio.fail_after(10):
            (answer,) = await self.store.execute([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def lease(self, queue=QUEUE, owner=ONE):
        return await self.ask(AcquireLease(queue, owner))

    async def take(self, done=None, attempt="first", queue=QUEUE, instance="one"):
        return await self.ask(NextMessage(queue, instance, attempt, done))

    async def push(self, message_id, raw=GOOD, queue=QUEUE):
        return await self.ask(PushMessage(queue, message_id, raw))

    def drop(self, name, raw=GOOD, *, age_s=None):
        """Create a file in place, as older writers do."""
        self.admin.mkdir(mode=0o700, exist_ok=True)
        path = self.admin / name
        path.write_bytes(raw)
        if age_s is not None:
            age(path, age_s)
        return path

    def names(self, folder):
        path = self.admin / folder
        return sorted(each.name for each in path.iterdir()) if path.exists() else []


def age(path, seconds):
    """Make a file look as if it had not been touched for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


@pytest.fixture
def files(tmp_path):
    files = Files(tmp_path)
    yield files
    files.store.close()


def beat(bot_id="4711"):
    heartbeat = Heartbeat(pid=4711, room_url=ROOM, participants=(), timestamp="now", bot_id=bot_id)
    return WriteHeartbeat(bot_id, to_hash(heartbeat))


def identity(participant_id="ann", room_url=ROOM, *, updated_ms=None, writer="w"):
    return WriteIdentity(
        Identity(
            participant_id=participant_id,
            room_url=room_url,
            timestamp="now",
            data=msgspec.Raw(b"{}"),
            updated_ms=int(time.time() * 1000) if updated_ms is None else updated_ms,
            writer=writer,
        )
    )


async def use_everything(files):
    """Make the store write a file of every kind."""
    await files.ask(beat())
    await files.ask(identity())
    await files.ask(PushControl("4711", "c", b"{}"))
    await files.lease()
    for message_id in ("done", "dead", "bad", "flying", "waiting"):
        await files.push(message_id, b'{"message":"x","id":"%s"}' % message_id.encode())
    dead = await files.take(Done((await files.take()).token, "done"))
    await files.ask(BuryMessage(QUEUE, "one", dead.token, "no"))
    bad = await files.take()
    await files.ask(BuryMessage(QUEUE, "one", bad.token, "no", malformed=True))
    await files.take()
