"""Redis is there and does not serve: it loads its data, or cannot write them down."""

import shutil

import anyio
import pytest

from .. import redis_bots, redis_server
from ..bot_rig import logged, until
from ..redis_bots import BACK, LOST, process, takes_at_most, until_seen

servers = redis_server.servers
places = redis_bots.places


@pytest.fixture
def anyio_backend():
    return "asyncio"


def changes(lines):
    return [line for line in lines if LOST in line or BACK in line]


async def test_a_redis_that_cannot_write_to_its_disk_is_left_until_it_can(places, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    place = await places(f"dir {data}", "save 3600 1")
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            shutil.rmtree(data)
            place.redis.bgsave()
            await until(lambda: place.redis.info("persistence")["rdb_last_bgsave_status"] == "err")
            async with takes_at_most(3):
                assert (await fleet.client.send("ada", "meanwhile", wait=5)).where.startswith("spool@")
            assert fleet.mode == "file"
            data.mkdir()
            place.redis.config_set("dir", str(data))
            place.redis.bgsave()
            await fleet.until_on("redis")
            assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
            seen = await until_seen(bot, "before", "meanwhile", "after")
            assert not any(message.redelivered for message in seen)
    lost, _ = changes(lines)
    assert "MISCONF" in lost


async def test_a_redis_that_is_loading_is_waited_for_on_files(places):
    place = await places("appendonly yes", "appendfsync no", "key-load-delay 200")
    with logged() as lines:
        async with process(place.settings()) as fleet:
            bot = await fleet.start()
            await fleet.client.send("ada", "before", wait=5)
            with place.redis.pipeline(transaction=False) as pipeline:
                for number in range(15_000):
                    pipeline.set(f"some:{number}", "")
                pipeline.execute()
            place.server.kill()
            async with anyio.create_task_group() as group:
                group.start_soon(place.server.start)
                await until(lambda: place.server.talk(b"GET x\r\n").startswith(b"-LOADING"), 20)
                async with takes_at_most(3):
                    receipt = await fleet.client.send("ada", "meanwhile", wait=5)
                assert receipt.where.startswith("spool@")
            await fleet.until_on("redis")
            assert (await fleet.client.send("ada", "after", wait=5)).where == "redis"
            seen = await until_seen(bot, "before", "meanwhile", "after")
            assert not any(message.redelivered for message in seen)
    assert len(changes(lines)) == 2
    assert [line for line in lines if line.startswith("ERROR")] == []


async def test_a_redis_whose_hello_is_renamed_is_used_all_the_same(places):
    place = await places('rename-command HELLO ""')
    assert place.server.talk(b"HELLO\r\n").startswith(b"-ERR unknown command")
    with logged() as lines:
        async with process(place.settings()) as fleet:
            await fleet.start()
            async with takes_at_most(0.9):  # the bell rings
                receipt = await fleet.client.send("ada", "hello", wait=5)
            assert (receipt.state, receipt.where) == ("handled", "redis")
    assert [line for line in lines if line.startswith(("WARNING", "ERROR"))] == []
