"""A file store and its doorbell, for tests."""

import contextlib
import sys

import anyio
import pytest

from botvisor.actors.backend.doorbell import SpoolDoorbell
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    NextMessage,
    Queue,
)

QUEUE = Queue("bot", "4711")
GOOD = b'{"message": "hello"}'
UNRELATED = 10_000

listed = []
# An audit hook cannot be taken away again: one for all tests of this process.
sys.addaudithook(lambda event, args: event in {"os.listdir", "os.scandir"} and listed.append(str(args[0])))


class Bell:
    """Counts the rings of one subscription, and waits for them."""

    def __init__(self):
        self.count = 0
        self._event = anyio.Event()

    def ring(self):
        self.count += 1
        self._event.set()

    async def rings(self, timeout=10.0):
        """Wait for the next ring since the last one waited for."""
        with anyio.fail_after(timeout):
            await self._event.wait()
        self._event = anyio.Event()


class WatchedFiles:
    """A file store in the test's own directory, and its doorbell."""

    def __init__(self, root, *, inotify):
        self.admin = root / "admin"
        self.told = []
        self.store = FileStore(
            Settings(admin_message_dir=self.admin, heartbeat_dir=root / "h", identity_dir=root / "i"),
            lambda level, text: self.told.append((level, text)),
        )
        self.doorbell = SpoolDoorbell(self.store.spool, inotify=inotify)

    def drop(self, name, raw=GOOD):
        """Create a file in place, as older writers do."""
        path = self.admin / name
        path.write_bytes(raw)
        return path

    @contextlib.asynccontextmanager
    async def watching(self, *targets):
        """Run the doorbell; yield a bell for each target once it has rung for the start."""
        bells = [Bell() for _ in targets]
        for target, bell in zip(targets, bells, strict=True):
            self.doorbell.subscribe(target, bell.ring)
        async with anyio.create_task_group() as group:
            started = anyio.Event()
            group.start_soon(self.doorbell.run, started.set)
            with anyio.fail_after(10):
                await started.wait()
            for bell in bells:
                await bell.rings()
            yield bells
            group.cancel_scope.cancel()

    async def ask(self, command):
        (answer,) = await self.store.execute([command])
        assert not isinstance(answer, Exception), answer
        return answer

    async def take(self, done=None):
        return await self.ask(NextMessage(QUEUE, "one", "a", done))

    async def lease(self):
        assert await self.ask(AcquireLease(QUEUE, own("4711", "one"))) is None


inotify_only = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture(params=[pytest.param(True, marks=inotify_only), False], ids=["inotify", "polling"])
def spool_files(request, tmp_path):
    files = WatchedFiles(tmp_path, inotify=request.param)
    yield files
    files.store.close()


@pytest.fixture
def watched(tmp_path):
    """Files watched in the best way this system has."""
    files = WatchedFiles(tmp_path, inotify=True)
    yield files
    files.store.close()
