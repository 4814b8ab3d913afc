"""Input that nobody honest writes, too much of it or too strange: what follows it is handled all the same."""

import resource
import time
from pathlib import Path

import anyio
import pytest

from botvisor.compat import redis_admin_migration, redis_client
from botvisor.errors import MalformedMessage
from botvisor.wire import MAX_MESSAGE_BYTES

from .. import compat_rig
from ..bot_rig import Reader, until
from ..file_rig import age
from ..redis_bots import ROOM
from .host import host as host
from .host import says, shown
from .host import servers as servers

branch = compat_rig.branch
HALF_A_GIGABYTE = 512 * 1024 * 1024
MANY = 100_000

STRANGE = {
    "a depth bomb": b'{"message":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "an integer of 5,000 digits": b'{"message":"x","n":' + b"9" * 5_000 + b"}",
    "a lone surrogate": b'{"message":"\\ud800"}',
    "a byte that is no UTF-8": b'{"message":"\xff"}',
}


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_half_a_gigabyte_is_refused_where_it_is_sent_before_it_is_copied(host):
    async with host.client() as fleet:
        bot = await fleet.start(Reader())
        huge = "x" * HALF_A_GIGABYTE
        peak_kb, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        for payload in (huge, {"message": huge}, {"message": "x", "context": huge}):
            with pytest.raises(MalformedMessage, match="more than 1048576"):
                await fleet.client.send("ada", payload)
        with pytest.raises(ValueError, match="more than 1048576"):
            await bot.bot.identities.write("ann", {"name": huge})
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kb < 50_000
        assert time.monotonic() - began < 5
        assert (await fleet.client.send("ada", "x" * (MAX_MESSAGE_BYTES - 1000), wait=10)).state == "handled"


async def test_the_guides_functions_refuse_half_a_gigabyte_too(branch):
    huge = "x" * HALF_A_GIGABYTE
    client = await redis_client.get_redis_client()
    try:
        with pytest.raises(MalformedMessage):
            await client.send_admin_message(4711, huge)
        if branch.on_redis:
            write = redis_admin_migration.get_write_admin_message()
            with pytest.raises(MalformedMessage):
                await anyio.to_thread.run_sync(lambda: write(4711, {"prompt": huge}))
    finally:
        await client.close()


def peak_mb(pid):
    """The most memory that a process has had."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def leave_huge(host):
    """Leave far too large a message to a bot, as a strange program might, and shout at it besides."""
    if host.place is None:
        path = host.folder / "admin_message" / "admin-ada-huge.json"
        path.touch(mode=0o600)
        with path.open("wb") as file:
            file.truncate(HALF_A_GIGABYTE)
        age(path, 10)
        return
    # All of it keeps a busy server silent for two seconds: the bot goes over to files and back.
    host.place.redis.rpush("admin:queue:ada", bytes(HALF_A_GIGABYTE // 8))
    for size_mb in (40, 24):  # Redis cuts a listener off for which more than 32 MB wait
        host.place.redis.publish("admin:bot:ada", bytes(size_mb * 1024 * 1024))


def leave_many(host):
    """Leave far too many messages to a bot."""
    if host.place is None:
        for number in range(MANY // 10):
            path = host.folder / "admin_message" / f"admin-ada-{number:06}.json"
            path.write_bytes(b'{"id":"m%d","message":"x"}' % number)
        return
    with host.place.redis.pipeline(transaction=False) as pipe:
        for start in range(0, MANY, 1000):
            raws = (b'{"id":"m%d","message":"x"}' % number for number in range(start, start + 1000))
            pipe.rpush("admin:queue:ada", *raws)
        pipe.execute()


@pytest.mark.parametrize(("leave", "limit_mb"), [(leave_huge, 100), (leave_many, 30)])
async def test_too_much_for_a_bot_takes_little_of_its_memory(host, leave, limit_mb):
    bot = await host.bot("ada")
    async with host.client() as fleet:
        await fleet.client.send("ada", "hold")
        await says(bot, "got hold")
        before_mb = peak_mb(bot.pid)
        await anyio.to_thread.run_sync(leave, host)
        await fleet.client.send(ROOM, "last")
        host.go_on()
        await says(bot, "got last")
        if leave is leave_huge:
            await fleet.client.send("ada", "after", wait=15)
            (dead,) = await fleet.client.messages("ada")
            assert (dead.state, "bytes, more than 1048576" in dead.reason) == ("dead", True)
        else:
            await says(bot, "got x", times=20)
            assert len(await fleet.client.messages("ada")) <= 10_000
        grown_mb = peak_mb(bot.pid) - before_mb
        print(f"the bot took {grown_mb:.1f} MB more")
        assert grown_mb < limit_mb


def put_away(host):
    """The bytes of what was put away."""
    if host.place is None:
        return [path.read_bytes() for path in (host.folder / "admin_message").glob(".bad/*")]
    letters = host.place.redis.lrange("admin:dead:{admin:queue:ada}", 0, -1)
    return [letter.partition(b"\n")[2] for letter in letters]


async def test_what_cannot_be_understood_is_put_away_and_what_follows_is_handled(host):
    bot = await host.bot("ada")
    async with host.client() as fleet:
        for number, raw in enumerate(STRANGE.values()):
            if host.place is None:
                path = host.folder / "admin_message" / f"admin-ada-{number}.json"
                path.write_bytes(raw)
                age(path, 10)
            else:
                host.place.redis.rpush("admin:queue:ada", raw)
        assert (await fleet.client.send("ada", "last", wait=10)).state == "handled"
        await says(bot, "got last")
        assert shown(bot) == [("last", 1, False)]
        await until(lambda: sorted(put_away(host)) == sorted(STRANGE.values()), 10)
    assert [line for line in bot.err if "ERROR" in line or "Traceback" in line] == []
