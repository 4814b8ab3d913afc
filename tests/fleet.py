"""Supervisors of many bots for tests: over stores in memory, and over files."""

from contextlib import asynccontextmanager

from botvisor import Client, Settings
from botvisor.actors.backend.files import FileStore
from botvisor.bot_supervisor import BotSupervisor
from botvisor.embed import supervised
from botvisor.logs import Log
from botvisor.process import new_instance, own
from botvisor.storage import plain_storage
from botvisor.store import AcquireLease, Queue
from botvisor.testing import MemoryDoorbell, MemoryStore

ROOM = "https://example.test/room"


class Fleet:
    """A running supervisor over a store in memory."""

    def __init__(self, supervisor, store):
        self.supervisor = supervisor
        self.start_bot = supervisor.start_bot
        self.client = Client(supervisor.backend, supervisor.settings, supervisor.log)
        self.store = store


@asynccontextmanager
async def in_memory(store=None, doorbell=MemoryDoorbell, log=None, **settings):
    store = store or MemoryStore()
    storage = plain_storage(store, doorbell(store), log or Log("memory"))
    supervisor = BotSupervisor(Settings(**settings), storage)
    async with supervised(supervisor):
        yield Fleet(supervisor, store)


def settings_in(folder):
    """Settings whose directories are in a folder, as `processes.environment` sets them there."""
    return Settings(
        admin_message_dir=folder / "admin_message",
        heartbeat_dir=folder / "heartbeat",
        identity_dir=folder / "identity",
    )


async def until_stopped(bot):
    await bot.wait_stopping()
    return bot.id


async def held_leases(store):
    """Which queues of the bot ada, who serves `ROOM`, somebody still holds."""
    files = FileStore(store) if isinstance(store, Settings) else None
    stranger = own("stranger", new_instance())
    queues = [Queue("bot", "ada"), Queue("room", ROOM), Queue("pre-spawn", ROOM)]
    answers = await (files or store).execute([AcquireLease(queue, stranger) for queue in queues])
    if files is not None:
        files.close()
    return [queue for queue, answer in zip(queues, answers, strict=True) if answer is not None]
