"""Bots that are processes of their own, on files or on Redis, for faults that happen to processes."""

import json

import anyio
import pytest

from .. import redis_server
from ..fleet import settings_in
from ..processes import Scripts
from ..redis_bots import ROOM, Place, process

servers = redis_server.servers

# What a bot in hand of "hold" waits for is a file; "die" kills it, however often it comes.
MAIN = """
async for message in bot.inbox:
    print("got", message.text, message.tries, "again" if message.redelivered else "first")
    while message.text == "hold" and not os.path.exists("go on"):
        await anyio.sleep(0.01)
    if message.text == "die":
        os.kill(os.getpid(), signal.SIGKILL)
"""


class Host:
    """The directories of a host, a server or none, and the bots that run there.

    Args:
        folder: the parent of the directories.
        scripts: starts programs there.
        place: the server, with these directories; None for files alone.
    """

    def __init__(self, folder, scripts, place=None):
        self.folder = folder
        self.scripts = scripts
        self.place = place
        self.settings = place.settings() if place else settings_in(folder)

    def variables(self, **more):
        return self.place.variables(**more) if self.place else {"BOT_LOG_LEVEL": "INFO", **more}

    async def bot(self, bot_id, *, room_url=ROOM, body=MAIN, head="", **env):
        """Start a bot, and wait until it serves its queues."""
        arguments = f"room_url='{room_url}', bot_id='{bot_id}'"
        bot = self.scripts.bot(body, arguments, head=head, **self.variables(**env))
        await says(bot, "Sent heartbeat")
        return bot

    def client(self):
        """A `Process` that sends, as a block; no bot runs in it."""
        return process(self.settings)

    def go_on(self):
        """Let bots that hold a message go on."""
        (self.folder / "go on").touch()


async def says(program, text, **more):
    return await anyio.to_thread.run_sync(lambda: program.says(text, **more))


async def ends(program):
    return await anyio.to_thread.run_sync(program.ends)


def shown(program):
    """What a bot's main was shown: (text, tries, whether it was marked as a repeat)."""
    words = [line.split() for line in program.out if line.startswith("got ")]
    return [(text, int(tries), mark == "again") for _, text, tries, mark in words]


def answer(outcome):
    """What a command that was run with --json said."""
    code, out, err = outcome
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.fixture(params=["files", "redis"])
async def host(request, servers, tmp_path):
    """A `Host` on files alone, then one on Redis."""
    place = Place(await servers(), tmp_path) if request.param == "redis" else None
    with Scripts(tmp_path) as scripts:
        yield Host(tmp_path, scripts, place)
    if place:
        place.redis.close()
