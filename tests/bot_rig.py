"""Real bots over one store, each on a link of its own that a test can watch, slow down and cut."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, contextmanager

import anyio
from loguru import logger

from botvisor.bot_supervisor import BotSupervisor
from botvisor.client import Client
from botvisor.config import Settings
from botvisor.embed import supervised
from botvisor.logs import Log
from botvisor.storage import plain_storage
from botvisor.store import Queue
from botvisor.testing import MemoryDoorbell

ROOM = "https://example.test/room"


@contextmanager
def logged():
    """Keep the log's lines, from INFO on, each with its level."""
    lines = []
    sink = logger.add(lambda line: lines.append(line.rstrip()), level="INFO", format="{level} {message}")
    try:
        yield lines
    finally:
        logger.remove(sink)


class Link:
    """A bot's way to a store that others use too.

    What is asked and answered goes through `pass_on`, first with "asked", then with "answered". A cut link is
    what the store sees of a process that was killed: nothing more comes, and no answer arrives.
    """

    def __init__(self, store):
        self.store = store
        self.pass_on = None
        self.is_cut = False
        self.errors = {}  # a queue, and what its commands are answered with
        self.counts = Counter()
        self._joined = anyio.Event()

    async def execute(self, commands):
        self.counts["batches"] += 1
        self.counts.update(type(command).__name__ for command in commands)
        await self._pass("asked", commands)
        errors = [self.errors.get(getattr(command, "queue", None)) for command in commands]
        good = [command for command, error in zip(commands, errors, strict=True) if error is None]
        answers = iter(await self.store.execute(good))
        await self._pass("answered", commands)
        return [next(answers) if error is None else error for error in errors]

    def cut(self):
        self.is_cut, self._joined = True, anyio.Event()

    def join(self):
        self.is_cut = False
        self._joined.set()

    async def _pass(self, moment, commands):
        if self.pass_on is not None:
            await self.pass_on(moment, commands)
        if self.is_cut:
            await self._joined.wait()


class Rig:
    """A running bot, and what a test does to it."""

    def __init__(self, supervisor, handle, link):
        self.supervisor = supervisor
        self.handle = handle
        self.bot = handle.bot
        self.link = link
        self.client = Client(supervisor.backend, supervisor.settings, supervisor.log)

    def restart(self, actor):
        self.supervisor.core.restart(f"{self.bot.id}/{actor}")

    def cancel_natively(self, actor):
        for task in asyncio.all_tasks():
            if task.get_name() == f"{self.bot.id}/{actor}":
                task.cancel()


class Reader:
    """A `main` that keeps what it was shown; it fails on each text as often as it is told to."""

    def __init__(self, **failures):
        self.failures = failures
        self.seen = []
        self.handling = anyio.Event()
        self.go_on = anyio.Event()

    async def __call__(self, bot):
        async for message in bot.inbox:
            self.seen.append(message)
            if self.failures.get(message.text, 0) > 0:
                self.failures[message.text] -= 1
                raise ValueError(message.text)
            if message.text == "wait":
                self.handling.set()
                await self.go_on.wait()
            if message.text == "end":
                return

    @property
    def texts(self):
        return [message.text for message in self.seen]


@asynccontextmanager
async def supervisor_on(store, *, doorbell=None, settings=None, log=None):
    link = Link(store)
    bell = doorbell or MemoryDoorbell(store)
    supervisor = BotSupervisor(settings or Settings(), plain_storage(link, bell, log or Log("memory")))
    async with supervised(supervisor):
        yield supervisor, link


@asynccontextmanager
async def bot_on(store, main, *, bot_id="bot", room_url="", policy=None, grace=5.0, **shared):
    async with supervisor_on(store, **shared) as (supervisor, link):
        handle = await supervisor.start_bot(
            main, bot_id=bot_id, room_url=room_url, policy=policy, grace=grace
        )
        yield Rig(supervisor, handle, link)


async def until(met, within=60.0):
    """Wait until a condition is met, by the clock of the event loop."""
    with anyio.fail_after(within):
        while not met():
            await anyio.sleep(0.01)


def own_queue(bot_id="bot"):
    return Queue("bot", bot_id)


async def send_all(rig, count=6):
    for number in range(count):
        await rig.client.send("bot" if number % 2 else ROOM, str(number))


def is_settled(store):
    return not any(store.queue(queue).messages() for queue in (own_queue(), Queue("room", ROOM)))
