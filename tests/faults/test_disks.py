"""Disks that are full, have no inode left or can only be read, and both stores away at once.

Each disk is a small tmpfs that only the test's own program sees.
"""

import json

import pytest

from botvisor.errors import NotStored

from .. import processes, redis_bots, redis_server
from ..bot_rig import logged
from ..redis_bots import process, until_seen
from .host import ends
from .namespaces import with_own_mounts

servers = redis_server.servers
place = redis_bots.place
scripts = processes.scripts

# A bot and a client in one program, on a disk that fails while a message is in hand.
FAILING = """
import contextlib, errno, json, os, subprocess, sys
from pathlib import Path
import anyio
from loguru import logger
from botvisor import open_client, open_bot
from botvisor.errors import NotStored

KIND, DISK = os.environ["KIND"], os.environ["DISK"]
seen, held, go_on = [], anyio.Event(), anyio.Event()
lines = []
logger.remove()
logger.add(lambda line: lines.append(line.rstrip()), level="INFO", format="{level} {message}")

def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)

def fill():
    if KIND == "read-only":
        # A new mount over the disk: what is open already stays as it is, as with a disk that fails.
        mount("--bind", DISK, DISK)
        mount("-o", "remount,bind,ro", DISK)
        return
    with contextlib.suppress(OSError):
        with open(f"{DISK}/filler", "wb", buffering=0) as file:
            while KIND == "full":
                file.write(bytes(4096))
    with contextlib.suppress(OSError):
        for number in range(100_000 * (KIND == "no inodes")):
            Path(f"{DISK}/filler{number}").touch()

def empty():
    if KIND == "read-only":
        subprocess.run(["umount", DISK], check=True)
    for file in Path(DISK).glob("filler*"):
        file.unlink()

def messages():
    return sorted(file.name for file in Path(DISK).glob("admin_message/*.json"))

async def read(bot):
    async for message in bot.inbox:
        seen.append([message.text, message.redelivered])
        if message.text == "hold":
            held.set()
            await go_on.wait()

async def main():
    facts = {}
    async with open_bot(bot_id="ada") as bot, open_client() as client, anyio.create_task_group() as group:
        group.start_soon(read, bot)
        await client.send("ada", "hold")
        await client.send("ada", "waits")
        await held.wait()
        before = messages()
        fill()
        try:
            receipt = await client.send("ada", "while it fails")
            facts["sent"] = receipt.where
        except NotStored as error:
            facts["refused"] = str(error)
        try:
            await client.send("ada", "durable", durable=True)
            facts["durable"] = "sent"
        except NotStored as error:
            facts["durable"] = str(error)
        facts["debris"] = [name for name in messages() if name not in before]
        if "USE_REDIS" in os.environ:
            doctor = [sys.executable, "-m", "botvisor", "doctor", "--json"]
            said = json.loads((await anyio.run_process(doctor, check=False)).stdout)
            facts["doctor"] = [each["text"] for each in said if each["level"] != "ok"]
        facts["drafts"] = [file.name for file in Path(DISK).glob("*/.tmp/*")]
        go_on.set()
        await anyio.sleep(0.3)
        facts["alarms"] = [line for line in lines if line.startswith(("WARNING", "ERROR"))]
        empty()
        facts["last"] = (await client.send("ada", "last", wait=15)).state
        facts["seen"] = seen
        group.cancel_scope.cancel()
    print(json.dumps(facts), flush=True)

mount("-t", "tmpfs", "-o", "size=256k,nr_inodes=60,mode=700", "tmpfs", DISK)
anyio.run(main)
"""
REASONS = {"full": "ENOSPC", "no inodes": "ENOSPC", "read-only": "EROFS"}
DOCTOR = {"full": "has 0 MB left", "no inodes": "no inode is left", "read-only": "cannot be written"}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def facts_of(scripts, folder, kind, **env):
    """What became of messages on a failing disk."""
    disk = folder / "disk"
    disk.mkdir()
    names = ("admin_message", "heartbeat", "identity")
    places = {f"BOT_{name.upper()}_DIR": str(disk / name) for name in names}
    given = {"KIND": kind, "DISK": str(disk), **places, **env}
    program = scripts.start(FAILING, behind=with_own_mounts(), **given)
    assert await ends(program) == 0, program.stderr
    return json.loads(program.out[-1])


@pytest.mark.parametrize("kind", REASONS)
async def test_a_disk_that_fails_takes_no_message_in_vain_and_loses_none(scripts, tmp_path, kind):
    facts = await facts_of(scripts, tmp_path, kind)
    assert REASONS[kind] in facts["refused"]
    assert REASONS[kind] in facts["durable"]
    assert (facts["debris"], facts["drafts"]) == ([], [])
    assert facts["alarms"] != []
    assert facts["last"] == "handled"
    assert [text for text, _ in facts["seen"]] == ["hold", "waits", "last"]


@pytest.mark.parametrize("kind", REASONS)
async def test_beside_a_disk_that_fails_redis_goes_on_and_somebody_is_told(place, scripts, kind):
    facts = await facts_of(scripts, place.folder, kind, **place.variables())
    assert facts["sent"] == "redis"
    assert REASONS[kind] in facts["durable"]  # no copy could be kept of it
    assert facts["drafts"] == []
    assert any(REASONS[kind] in line for line in facts["alarms"])
    assert any(DOCTOR[kind] in line for line in facts["doctor"])
    assert [text for text, _ in facts["seen"]] == ["hold", "waits", "while it fails", "last"]
    assert not any(again for _, again in facts["seen"])


async def test_with_both_stores_away_send_raises_and_main_lives(place):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        await fleet.client.send("ada", "before", wait=5)
        place.server.kill()
        await fleet.until_on("file")
        spool, aside = place.folder / "admin_message", place.folder / "aside"
        spool.rename(aside)
        spool.write_text("no directory")
        with logged() as lines, pytest.raises(NotStored, match="is not a directory"):
            await fleet.client.send("ada", "refused")
        assert any("ERROR" in line and "Could not send" in line for line in lines)
        spool.unlink()
        aside.rename(spool)
        await fleet.client.send("ada", "on files", wait=10)
        await place.server.start()
        await fleet.until_on("redis")
        await fleet.client.send("ada", "on Redis", wait=10)
        await until_seen(bot, "before", "on files", "on Redis")
