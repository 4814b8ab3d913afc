"""The guide's synchronous functions: from plain code, from threads, and inside a running event loop."""

import asyncio
import signal
import threading
import time

import anyio
import pytest

from botvisor.compat import portal
from botvisor.compat.redis_admin_migration import get_admin_message_polling_loop, get_write_admin_message
from botvisor.compat.redis_client import get_redis_client
from botvisor.compat.redis_heartbeat_migration import (
    check_redis_heartbeat_available,
    get_heartbeat_reader,
    get_heartbeat_sender,
    write_heartbeat_file,
)
from botvisor.compat.redis_identity_migration import get_identity_scanner, get_identity_writer
from botvisor.config import load_settings
from botvisor.errors import MalformedMessage, NotStored, SettingsError, StoreError, StoreUnavailable

from . import compat_rig, redis_server
from .bot_rig import logged, until

servers = redis_server.servers
on_redis = compat_rig.on_redis
on_files = compat_rig.on_files

ROOM = "https://example.test/room"
GETTERS = [
    get_heartbeat_sender,
    get_heartbeat_reader,
    get_identity_writer,
    get_identity_scanner,
    get_write_admin_message,
    get_admin_message_polling_loop,
]
each_getter = pytest.mark.parametrize("getter", GETTERS, ids=lambda getter: getter.__name__)


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def inside_the_loop(function):
    return function()


async def in_a_thread(function):
    return await anyio.to_thread.run_sync(function)


async def in_a_loop_of_trio(function):
    async def call():
        return function()

    return await anyio.to_thread.run_sync(lambda: anyio.run(call, backend="trio"))


async def in_a_loop_of_a_thread(function):
    async def call():
        return function()

    return await anyio.to_thread.run_sync(lambda: asyncio.run(call()))


class Timer:
    def __enter__(self):
        self._began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.took_s = time.monotonic() - self._began


def use_all():
    """Use everything once; returns what was read."""
    assert check_redis_heartbeat_available()
    get_heartbeat_sender()(12345, ROOM, ["user1"])
    get_identity_writer()(ROOM, "user1", {"name": "John"})
    get_write_admin_message()(12345, {"prompt": "hi", "senderName": "Ann"})
    return get_heartbeat_reader()(12345), get_identity_scanner()(ROOM), get_heartbeat_reader()(54321)


@pytest.mark.parametrize("where", [inside_the_loop, in_a_thread, in_a_loop_of_a_thread, in_a_loop_of_trio])
async def test_they_work_from_everywhere(on_redis, where):
    with logged() as lines:
        beat, found, nothing = await where(use_all)
    assert (beat["pid"], beat["room_url"], beat["participants"], nothing) == (12345, ROOM, ["user1"], None)
    assert [(each["participant_id"], each["name"]) for each in found] == [("user1", "John")]
    for line in (
        "[redis-heartbeat] Sent heartbeat for bot 12345",
        "[redis-identity] Stored identity for participant user1",
        "[redis-admin] Sent admin message to bot 12345 via Redis",
    ):
        assert f"INFO {line}" in lines
    client = await get_redis_client()
    (message,) = await client.get_admin_messages(12345)
    assert (message["message"], message["sender_name"]) == ("hi", "Ann")
    await client.close()


async def test_many_threads_share_one_portal(on_redis):
    def send(number):
        for _ in range(5):
            get_heartbeat_sender()(1000 + number, ROOM, [])

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(anyio.to_thread.run_sync, send, number)
    assert [thread.name for thread in threading.enumerate()].count("botvisor portal") == 1
    assert len(on_redis.redis.keys("heartbeat:*")) == 20


@each_getter
def test_without_redis_a_getter_gives_none_at_once_and_starts_nothing(on_files, getter):
    with Timer() as timer:
        assert getter() is None
    assert timer.took_s < 0.05
    assert "botvisor portal" not in [thread.name for thread in threading.enumerate()]
    assert check_redis_heartbeat_available() is False


async def test_a_getter_gives_none_while_redis_is_away_and_then_at_once(on_redis):
    on_redis.server.kill()
    with logged() as lines, Timer() as first:
        assert get_heartbeat_sender() is None
    assert first.took_s < portal.DEADLINE_S
    assert lines.count("INFO [redis-client] Ping failed: Connection refused - falling back to files") == 1
    for getter in GETTERS:
        with Timer() as timer:
            assert getter() is None
        assert timer.took_s < 0.05
    assert check_redis_heartbeat_available() is False
    await on_redis.server.start()
    await until(lambda: get_heartbeat_sender() is not None, 10)
    assert check_redis_heartbeat_available() is True


async def test_what_a_getter_gave_keeps_working_when_redis_goes(on_redis):
    send, read, write = get_heartbeat_sender(), get_heartbeat_reader(), get_identity_writer()
    scan, tell = get_identity_scanner(), get_write_admin_message()
    send(12345, ROOM, [])
    on_redis.server.kill()
    with logged() as lines:
        for number in range(3):
            with Timer() as timer:
                send(12345, ROOM, [str(number)])
                write(ROOM, "user1", {"name": str(number)})
                tell(12345, {"prompt": str(number)})
            assert timer.took_s < portal.DEADLINE_S
    assert len([line for line in lines if "falling back to files" in line]) == 1
    assert "INFO [file-heartbeat] Sent heartbeat for bot 12345" in lines
    assert (read(12345)["participants"], scan(ROOM)[0]["name"]) == (["2"], "2")
    assert on_redis.folder.joinpath("heartbeat", "12345.json").exists()
    assert len(list(on_redis.folder.joinpath("admin_message").glob("admin-12345-*.json"))) == 3


async def test_a_redis_that_hangs_holds_its_caller_for_the_deadline_at_most(on_redis):
    send = get_heartbeat_sender()
    on_redis.server.process.send_signal(signal.SIGSTOP)
    with Timer() as timer:
        await anyio.to_thread.run_sync(send, 12345, ROOM, [])  # it went to the files
    assert timer.took_s < portal.DEADLINE_S + 0.2
    assert on_redis.folder.joinpath("heartbeat", "12345.json").exists()


async def test_the_true_outcome_is_reported(on_redis, monkeypatch):
    monkeypatch.setenv("BOT_FILE_FALLBACK", "false")
    send, tell = get_heartbeat_sender(), get_write_admin_message()
    with pytest.raises(MalformedMessage):
        tell(12345, {"senderId": "1"})
    with pytest.raises(TypeError):
        tell(None, {"prompt": "hi"})
    with pytest.raises(ValueError, match="bot id"):
        send("no id", ROOM, [])
    on_redis.server.kill()
    with pytest.raises(NotStored):
        tell(12345, {"prompt": "hi"})
    with pytest.raises(StoreError):
        send(12345, ROOM, [])


async def test_a_caller_who_gets_no_answer_is_told_so(on_redis):
    served = portal.portal_of(load_settings())
    served.wait()
    with Timer() as timer, pytest.raises(StoreUnavailable, match="may have been done or not"):
        served.call(lambda _: asyncio.sleep(10), within_s=0.1)
    assert timer.took_s < 0.5


async def test_a_time_out_of_the_call_itself_is_its_own(on_redis):
    async def fail(_):
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        portal.call(load_settings(), fail)


async def test_a_portal_that_was_closed_is_replaced(on_redis):
    send = get_heartbeat_sender()
    portal.close_all()
    assert "botvisor portal" not in [thread.name for thread in threading.enumerate()]
    send(12345, ROOM, [])
    assert get_heartbeat_reader()(12345)["pid"] == 12345


async def test_a_portal_closes_within_a_second_while_redis_hangs(on_redis):
    send = get_heartbeat_sender()
    on_redis.server.process.send_signal(signal.SIGSTOP)
    thread = threading.Thread(target=send, args=(12345, ROOM, []))
    thread.start()
    with Timer() as timer:
        portal.close_all()
    assert timer.took_s < portal.EXIT_S + 0.2
    on_redis.server.process.send_signal(signal.SIGCONT)
    await anyio.to_thread.run_sync(thread.join)


@each_getter
def test_settings_that_cannot_be_used_are_an_error(on_files, monkeypatch, getter):
    monkeypatch.setenv("USE_REDIS", "true")
    monkeypatch.setenv("REDIS_AUTH_REQUIRED", "true")
    with pytest.raises(SettingsError):
        getter()


async def test_a_heartbeat_file_is_written_whatever_there_is_of_redis(on_redis, monkeypatch):
    with logged() as lines:
        write_heartbeat_file(12345, ROOM, ["user1"])
    assert lines == ["INFO [file-heartbeat] Sent heartbeat for bot 12345"]
    monkeypatch.setenv("USE_REDIS", "false")
    client = await get_redis_client()
    assert (await client.get_heartbeat(12345))["participants"] == ["user1"]
    await client.close()
    assert "botvisor portal" not in [thread.name for thread in threading.enumerate()]


def test_a_heartbeat_file_that_cannot_be_written_is_an_error(on_files, monkeypatch):
    (on_files.folder / "heartbeat").write_text("in the way")
    with pytest.raises(StoreError):
        write_heartbeat_file(12345, ROOM, [])
    monkeypatch.setenv("USE_REDIS", "true")
    monkeypatch.setenv("BOT_FILE_FALLBACK", "false")
    with pytest.raises(StoreUnavailable, match="BOT_FILE_FALLBACK"):
        write_heartbeat_file(12345, ROOM, [])
