"""`botvisor send` on Redis, and while it is away: where the message is, and what the exit code says of it."""

import json
from functools import partial

import anyio
import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.actors.backend.spool_names import is_forwarded
from botvisor.process import host, own
from botvisor.store import AcquireLease, Queue

from . import cli_rig, redis_server, redis_world
from .fleet import settings_in
from .redis_server import free_port

servers = redis_server.servers
command = cli_rig.command
anyio_backend = redis_world.one_loop


@pytest.fixture
def away():
    """The settings of a host whose Redis is away."""
    return {"USE_REDIS": "true", "REDIS_URL": f"redis://127.0.0.1:{free_port()}"}


@pytest.fixture
async def redis(servers):
    """The settings of a host whose Redis is there."""
    return {"USE_REDIS": "true", "REDIS_URL": (await servers()).url}


def outbox(folder):
    return list((folder / "admin_message").glob("outbox/*/*.json"))


def spool(folder):
    return list((folder / "admin_message").glob("*.json"))


async def test_a_message_on_redis_is_done(command, redis, tmp_path):
    code, out, err = await anyio.to_thread.run_sync(partial(command, "send", "ada", "hello", **redis))
    assert (code, err) == (0, "")
    assert out.endswith("(redis)\n")
    assert outbox(tmp_path) == []
    assert all(is_forwarded(path.name) for path in spool(tmp_path))  # for a bot that starts without Redis


async def test_a_durable_message_leaves_a_copy_for_the_next_client(command, redis, tmp_path):
    send = partial(command, "send", "ada", "hello", "--durable", "--json", **redis)
    code, out, _ = await anyio.to_thread.run_sync(send)
    (copy,) = outbox(tmp_path)
    kept = json.loads(copy.read_bytes().splitlines()[1])
    assert (code, kept["id"], kept["resent"]) == (0, json.loads(out)["id"], True)


@pytest.mark.parametrize("durable", [(), ("--durable",)])
def test_a_bot_elsewhere_cannot_be_reached_while_redis_is_away(command, away, tmp_path, durable):
    code, out, err = command("send", "ada", "hello", *durable, **away)
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "ada" in err
    assert spool(tmp_path) == outbox(tmp_path) == []


def test_the_spool_is_taken_when_it_is_asked_for_and_told_by_the_exit_code(command, away, tmp_path):
    code, out, err = command("send", "ada", "hello", "--spool", "--json", **away)
    assert (code, json.loads(out)["where"]) == (3, f"spool@{host()}")
    assert err.startswith(f"botvisor: only spool@{host()} has the message (Redis")
    assert "Connection refused" in err
    assert len(spool(tmp_path)) == 1


async def test_a_bot_of_this_host_is_reached_while_redis_is_away(command, away, tmp_path):
    files = FileStore(settings_in(tmp_path))
    await files.execute([AcquireLease(Queue("bot", "ada"), own("ada", "one"))])
    code, out, err = await anyio.to_thread.run_sync(partial(command, "send", "ada", "hello", **away))
    assert (code, out.endswith(f"(spool@{host()})\n"), "Redis is away" in err) == (3, True, True)
    files.close()


@pytest.mark.parametrize(
    ("name", "lines", "told"),
    [
        ("redis-5", ["maxmemory 1"], "Redis is full: raise maxmemory"),
        ("redis-5", ["replicaof 127.0.0.1 1"], "REDIS_URL must name the primary"),
        ("redis-6", ["user default on nopass ~* &* +@all -rpush"], "add to the ACL: +rpush"),
    ],
    ids=["OOM", "READONLY", "NOPERM"],
)
async def test_a_message_that_redis_refuses_is_said_to_be_only_here(
    command, servers, tmp_path, name, lines, told
):
    server = await servers(*lines, name=name)
    env = {"USE_REDIS": "true", "REDIS_URL": server.url}
    refused = await anyio.to_thread.run_sync(partial(command, "send", "ada", "hello", **env))
    assert refused[:2] == (1, "")
    assert told in refused[2]
    assert "nobody serves bot ada on this host" in refused[2]
    assert spool(tmp_path) == []
    sends = [("send", "ada", "hello", "--spool", "--json", *more) for more in ((), ("--wait", "0.1"))]
    for send, expected in zip(sends, (3, 4), strict=True):
        code, out, err = await anyio.to_thread.run_sync(partial(command, *send, **env))
        assert (code, json.loads(out)["where"]) == (expected, f"spool@{host()}")
        assert err.startswith(f"botvisor: only spool@{host()} has the message (Redis")
        assert told in err
    assert len(spool(tmp_path)) == 2


async def test_a_bot_that_keeps_to_files_is_reached_while_redis_is_there(command, redis, tmp_path):
    files = FileStore(settings_in(tmp_path))
    await files.execute([AcquireLease(Queue("bot", "ada"), own("ada", "one"))])
    code, out, err = await anyio.to_thread.run_sync(partial(command, "send", "ada", "hello", **redis))
    assert (code, out.endswith(f"(spool@{host()})\n"), err) == (0, True, "")
    files.close()


def test_a_message_that_was_awaited_in_vain_ends_with_4_wherever_it_is(command, away):
    code, _, err = command("send", "ada", "hello", "--spool", "--wait", "0.1", **away)
    assert (code, err.splitlines()[-1]) == (4, "botvisor: not handled within 0.1 s: the message")
    assert command("send", "ada", "hello", "--wait", "0.1", USE_REDIS="false")[::2] == (
        4,
        "botvisor: not handled within 0.1 s: the message\n",
    )


def test_what_cannot_be_durable_is_not_sent(command, away):
    code, out, err = command("send", "ada", "hello", "--durable", BOT_FILE_FALLBACK="false", **away)
    assert (code, out) == (1, "")
    assert "BOT_FILE_FALLBACK is off" in err


def test_on_files_alone_neither_changes_anything(command, tmp_path):
    code, _, err = command("send", "ada", "hello", "--durable", "--spool")
    assert (code, err, len(spool(tmp_path)), outbox(tmp_path)) == (0, "", 1, [])
