"""`get_admin_messages`: what it returned stays in the queue until the next call or `close`."""

import asyncio
import os

import anyio
import pytest

from botvisor import open_bot
from botvisor.compat import collectors
from botvisor.compat.redis_client import get_redis_client
from botvisor.errors import BotIdTaken, QueueTaken, StoreUnavailable

from . import compat_rig, redis_server
from .bot_rig import logged, until
from .processes import Scripts

servers = redis_server.servers
branch = compat_rig.branch
on_redis = compat_rig.on_redis
on_files = compat_rig.on_files

CRASHES = """
from botvisor.compat.redis_client import get_redis_client

async def main():
    client = await get_redis_client()
    print("got", [message["message"] for message in await client.get_admin_messages(99)])
    {then}
asyncio.run(main())
"""


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def client(branch):
    client = await get_redis_client()
    yield client
    await client.close()


async def texts(client, key=99):
    return [message.get("message") or message["prompt"] for message in await client.get_admin_messages(key)]


async def receive(key=99):
    """What a bot gets that takes over."""
    found = []
    async with open_bot(bot_id=str(key)) as bot:
        with anyio.move_on_after(0.3):
            async for message in bot.inbox:
                found.append((message.text, message.redelivered))  # noqa: PERF401 - it is cancelled
    return found


async def test_all_that_waits_is_returned_once_in_order(client):
    assert await texts(client) == []
    for number in range(5):
        await client.send_admin_message(99, str(number))
    assert await texts(client) == ["0", "1", "2", "3", "4"]
    await client.send_admin_message(99, "5")
    assert await texts(client) == ["5"]
    assert await texts(client) == []


async def test_a_message_has_its_fields_and_an_id(client):
    await client.send_admin_message(99, {"id": "m1", "message": "hi", "context": {"page": 7}})
    await client.send_admin_message(99, "text")
    first, second = await client.get_admin_messages(99)
    assert (first["id"], first["message"], first["context"]) == ("m1", "hi", {"page": 7})
    assert (second["type"], second["id"][:6]) == ("admin_message", "admin_")
    assert "redelivered" not in first


async def test_what_older_programs_send_without_ids_is_returned_once_each(client, branch):
    for _ in range(2):
        for text in ("twin", "twin", "other"):
            branch.send(99, prompt=text)
        found = await client.get_admin_messages(99)
        assert [each["prompt"] for each in found] == ["twin", "twin", "other"]
        assert len({each["id"] for each in found}) == 3
    assert await texts(client) == []


async def test_a_repeat_with_the_same_id_is_not_returned_again(client, branch):
    for text in ("one", "one", "two"):
        branch.send(99, id=text, message=text)
    assert await texts(client) == ["one", "two"]
    branch.send(99, id="one", message="one")
    branch.send(99, id="three", message="three")
    assert await texts(client) == ["three"]


async def test_they_stay_in_the_queue_until_the_next_call(client, branch):
    for number in range(3):
        await client.send_admin_message(99, str(number))
    await texts(client)
    assert branch.waiting(99) == 2  # and one is in flight
    await texts(client)
    assert branch.waiting(99) == 0


async def test_close_lets_others_have_the_queue_without_what_was_returned(branch):
    client = await get_redis_client()
    await client.send_admin_message(99, "old")
    await client.send_admin_message(99, "old too")
    assert await texts(client) == ["old", "old too"]
    await client.send_admin_message(99, "new")
    await client.close()
    assert await receive() == [("new", False)]


@pytest.mark.parametrize("then", ["os._exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
async def test_a_crash_in_between_loses_nothing(branch, then):
    client = await get_redis_client()
    for number in range(3):
        await client.send_admin_message(99, str(number))
    with Scripts(branch.folder) as scripts:
        program = scripts.start(CRASHES.format(then=then), **branch.variables())
        program.says("got ['0', '1', '2']")
        await anyio.to_thread.run_sync(program.ends)
    found = await client.get_admin_messages(99)
    assert [(each["message"], each.get("redelivered", False)) for each in found] == [
        ("0", True),
        ("1", False),
        ("2", False),
    ]
    await client.close()


async def test_a_cancelled_call_has_returned_nothing(client, branch):
    for number in range(20):
        await client.send_admin_message(99, str(number))
    expected = [str(number) for number in range(20)]
    for steps in range(60):  # it is cancelled at each of its steps in turn
        task = asyncio.create_task(client.get_admin_messages(99))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            break
    returned = [] if task.cancelled() else [each["message"] for each in task.result()]
    assert returned + await texts(client) == expected


async def test_a_live_bot_keeps_its_queue(client):
    async with open_bot(bot_id="99") as bot:
        with pytest.raises(QueueTaken, match=f"bot 99 go to process {os.getpid()} on .*bot 99.*stop that"):
            await client.get_admin_messages(99)
        await client.send_admin_message(99, "hi")
        assert (await anext(bot.inbox)).text == "hi"
    assert await texts(client) == []


async def test_a_bot_cannot_be_started_under_an_id_that_is_collected(client):
    await client.get_admin_messages("ada")
    with pytest.raises(BotIdTaken):
        async with open_bot(bot_id="ada"):
            pass


async def test_malformed_messages_are_put_aside(client, branch):
    for message in ({"type": "admin_message"}, {"message": "good"}, {"nothing": 1}, {"message": "too"}):
        branch.send(99, **message)
    with logged() as lines:
        assert await texts(client) == ["good", "too"]
        assert await texts(client) == []
    assert len([line for line in lines if "] Quarantined " in line]) == 2


async def test_a_message_that_came_before_those_that_were_returned_is_returned(on_redis):
    client = await get_redis_client()
    for text in ("a", "b", "b"):
        on_redis.send(99, prompt=text)
    assert await texts(client) == ["a", "b", "b"]
    on_redis.redis.lpush("admin:queue:99", '{"prompt": "urgent"}')
    on_redis.send(99, prompt="b")
    assert await texts(client) == ["urgent", "b"]
    assert await texts(client) == []
    await client.close()


async def test_what_another_has_taken_meanwhile_is_not_waited_for(on_redis):
    client = await get_redis_client()
    for text in ("a", "b"):
        on_redis.send(99, prompt=text)
    assert await texts(client) == ["a", "b"]
    on_redis.redis.flushall()  # Redis has lost its memory
    on_redis.send(99, prompt="b")
    assert await texts(client) == ["b"]
    await client.close()


async def test_messages_of_both_stores_are_returned(on_redis):
    client = await get_redis_client()
    await client.send_admin_message(99, "on Redis")
    place = on_redis.folder / "admin_message"
    (place / "admin-99-1.json").write_text('{"prompt": "on file"}')
    assert await texts(client) == ["on Redis", "on file"]
    assert await texts(client) == []
    await client.close()


async def test_what_was_taken_from_one_store_is_not_returned_from_the_other(on_redis):
    client = await get_redis_client()
    await client.get_admin_messages(99)  # so that its files are not forwarded
    on_redis.send(99, id="twin", message="on Redis")
    assert await texts(client) == ["on Redis"]
    await client.close()
    client = await get_redis_client()
    assert await texts(client) == []
    for number, name in enumerate(("twin", "new", "twin")):
        (on_redis.folder / "admin_message" / f"admin-99-{number}.json").write_text(
            f'{{"id": "{name}", "message": "{name}"}}'
        )
    assert await texts(client) == ["new"]
    assert await texts(client) == []
    await client.close()


async def test_while_redis_is_away_the_files_are_collected(on_redis):
    client = await get_redis_client()
    await client.send_admin_message(99, "before")
    assert await texts(client) == ["before"]
    on_redis.server.kill()
    await client.send_admin_message(99, "now")
    assert await texts(client) == ["now"]
    await client.close()


async def test_with_every_store_away_it_fails(on_redis, monkeypatch):
    monkeypatch.setenv("BOT_FILE_FALLBACK", "false")
    client = await get_redis_client()
    on_redis.server.kill()
    with pytest.raises(StoreUnavailable, match="bot 99"):
        await texts(client)
    await client.close()


async def test_the_lease_is_kept_between_two_calls(on_redis, monkeypatch):
    monkeypatch.setattr(collectors, "RENEW_EVERY_S", 0.05)
    client = await get_redis_client()
    await client.get_admin_messages(99)
    on_redis.redis.expire("admin:owner:{admin:queue:99}", 5)
    await until(lambda: on_redis.redis.ttl("admin:owner:{admin:queue:99}") > 25, 5)
    await client.close()
    assert not on_redis.redis.exists("admin:owner:{admin:queue:99}")
