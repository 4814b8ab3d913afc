"""What tests of bots on Redis share: a server and directories of their own, and programs that are not ours.

Take the fixture over by its name: ``from . import redis_bots`` and ``place = redis_bots.place``; it needs
``servers = redis_server.servers`` beside it.
"""

import contextlib
import json
from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor import Client, Settings, open_supervisor
from botvisor.actors.backend import failover, forwarded_files
from botvisor.bot_supervisor import BotSupervisor
from botvisor.embed import supervised
from botvisor.stores import on_redis

from .bot_rig import Reader, until
from .fleet import settings_in

ROOM = "https://example.test/room"
LOST = "] Ping failed: "
BACK = "] Ping answered after "


class Place:
    """A server, and the directories of one host.

    Args:
        server: the server.
        folder: the directories' parent.
    """

    def __init__(self, server, folder):
        import redis

        self.server = server
        self.folder = folder
        self.redis = redis.Redis(port=server.port, protocol=2)

    def settings(self, *, port=None, folder=None, url=None, **more):
        """The settings of a process there; with a port it reaches the server through a proxy."""
        files = settings_in(folder or self.folder)
        names = ("admin_message_dir", "heartbeat_dir", "identity_dir")
        return Settings(
            use_redis=True,
            redis_url=url or f"redis://127.0.0.1:{port or self.server.port}",
            **{name: getattr(files, name) for name in names},
            **more,
        )

    def variables(self, **more):
        """The same for a process of its own, as variables of its environment."""
        return {"USE_REDIS": "true", "REDIS_URL": self.server.url, "BOT_LOG_LEVEL": "INFO", **more}

    def send(self, key, **message):
        """Send as older programs do: the bell first, then the message."""
        raw = json.dumps(message)
        self.redis.publish(f"admin:bot:{key}", raw)
        self.redis.rpush(f"admin:queue:{key}", raw)
        self.redis.expire(f"admin:queue:{key}", 3600)

    def spooled(self):
        """The names of the messages that wait on files."""
        return sorted(path.name for path in (self.folder / "admin_message").glob("*.json"))


class Process:
    """A supervisor of its own, as it were a process, with a client and what its bots' readers saw."""

    def __init__(self, supervisor):
        self.supervisor = supervisor
        self.client = Client(
            supervisor.backend, supervisor.settings, supervisor.log, outbox=supervisor.outbox
        )

    async def start(self, main=None, *, room_url=ROOM, bot_id="ada", **more):
        """Start a bot. Returns its handle, with its `Reader` as `reader`."""
        reader = main or Reader()
        handle = await self.supervisor.start_bot(reader, room_url=room_url, bot_id=bot_id, **more)
        handle.reader = reader
        return handle

    async def until_on(self, mode, within=20.0):
        """Wait until it keeps everything there: ``redis``, ``file`` or ``none``."""
        await until(lambda: self.mode == mode, within)

    @property
    def mode(self):
        return self.supervisor.storage.state()["mode"]


@asynccontextmanager
async def process(settings):
    """Run a `Process` for as long as the block lasts."""
    async with open_supervisor(settings) as supervisor:
        yield Process(supervisor)


@asynccontextmanager
async def attentive(settings, *, forward_every_s=failover.FORWARD_EVERY_S):
    """Run a process that looks after its durable messages many times as often as it would."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(failover, "FORWARD_EVERY_S", forward_every_s)
        patched.setattr(forwarded_files, "_FIRST_S", forward_every_s)
        async with supervised(supervisor := BotSupervisor(settings, on_redis(settings, tend_every_s=0.1))):
            yield Process(supervisor)


def kept_copies(folder):
    """The ids of the messages that a host keeps a copy of."""
    ids = []
    for copy in (folder / "admin_message").glob("outbox/*/*.json"):
        with contextlib.suppress(FileNotFoundError):  # its owner is done with it just now
            ids.append(json.loads(copy.read_bytes().splitlines()[1])["id"])
    return sorted(ids)


async def until_seen(handle, *texts, within=20.0):
    """Wait until a bot's reader has seen these texts, in this order and no others; returns the messages."""
    try:
        await until(lambda: handle.reader.texts == list(texts), within)
    except TimeoutError:
        raise AssertionError(f"{handle.reader.texts} in place of {list(texts)}") from None
    return handle.reader.seen


@asynccontextmanager
async def takes_at_most(seconds):
    """Fail when a block takes longer."""
    began = anyio.current_time()
    yield
    took = anyio.current_time() - began
    assert took < seconds, f"it took {took:.2f} s"


@pytest.fixture
async def place(servers, tmp_path):
    """A `Place` with a server that keeps nothing over a restart."""
    place = Place(await servers(), tmp_path)
    yield place
    place.redis.close()


@pytest.fixture
async def kept(servers, tmp_path):
    """A `Place` with a server that forgets nothing."""
    place = Place(await servers("appendonly yes", "appendfsync always"), tmp_path)
    yield place
    place.redis.close()


@pytest.fixture
async def places(servers, tmp_path):
    """Make a `Place` with a server that is set up so: ``await places(*lines, name=None)``."""
    made = []

    async def make(*lines, **how):
        made.append(Place(await servers(*lines, **how), tmp_path))
        return made[-1]

    yield make
    for place in made:
        place.redis.close()
