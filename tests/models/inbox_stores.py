"""Where the bots of a model keep their messages: in memory, or in real files, used without threads."""

import shutil
import tempfile
from pathlib import Path

from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.errors import StoreUnavailable
from botvisor.store import PushControl, PushMessage, ReturnMessage
from botvisor.testing import MemoryStore


class InMemory:
    """One store in memory for all; whoever dies keeps its leases until they run out."""

    def __init__(self):
        self.all = [MemoryStore()]

    def of_a_process(self):
        return self.all[0]

    def die(self, store):
        pass

    def fail(self):
        for store in self.all:
            store.fail_with(StoreUnavailable("the model says so"))

    def hang(self):
        for store in self.all:
            store.hang()

    def slow(self, seconds):
        for store in self.all:
            store.slow(seconds)

    def heal(self):
        for store in self.all:
            store.heal()

    def close(self):
        pass


class FilesInline(MemoryStore):
    """Real files, with the faults and the bell of a store in memory.

    Commands are carried out on the event loop: a thread would be lost in virtual time.
    """

    def __init__(self, settings, bells):
        super().__init__()
        self._files = FileStore(settings)
        self._bells = bells

    def _answer(self, command):
        (answer,) = self._files._run((command,))
        if not isinstance(answer, Exception):
            match command:
                case PushMessage() | ReturnMessage():
                    self._ring(command.queue)
                case PushControl():
                    self._ring(command.bot_id)
        return answer

    def close(self):
        self._files.close()


class OnFiles(InMemory):
    """A file store for each process, all of them over one directory; whoever dies lets go of its locks."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        names = ("admin_message_dir", "heartbeat_dir", "identity_dir")
        self.settings = Settings(**{name: self.folder / name for name in names})
        self.all = []
        self.bells = []

    def of_a_process(self):
        self.all.append(FilesInline(self.settings, self.bells))
        return self.all[-1]

    def die(self, store):
        store.close()

    def close(self):
        for store in self.all:
            store.close()
        shutil.rmtree(self.folder)
