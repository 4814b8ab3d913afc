"""The `botvisor` command on Redis: a large fleet, no Redis, a wrong password, what is left of the dead."""

import json
import os
from datetime import UTC, datetime
from functools import partial

import anyio
import pytest

from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.process import own
from botvisor.store import AcquireLease, BuryMessage, NextMessage, PushMessage, Queue, WriteHeartbeat

from . import cli_rig, redis_server, redis_world
from .redis_server import free_port
from .store_worlds import done_with

command = cli_rig.command
servers = redis_server.servers
anyio_backend = redis_world.one_loop
round_trips = redis_world.round_trips

PASSWORD = "a password that nobody may see"
LEDGER = [{"at": "2026-01-01T00:00:00Z", "actor": "ada/inbox", "error": "ValueError: bad"}]


@pytest.fixture
async def run(command):
    """Runs the command in a thread, beside this test's event loop."""
    return lambda *arguments, **env: anyio.to_thread.run_sync(partial(command, *arguments, **env))


@pytest.fixture
async def world(servers):
    """A `RedisWorld` on a server of the test's own."""
    world = redis_world.RedisWorld(await servers())
    yield world
    await world.aclose()


def env_of(server):
    return {"USE_REDIS": "true", "REDIS_URL": server.url}


def beat(bot_id, **fields):
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    given = {
        "pid": 1,
        "room_url": "",
        "participants": ("ann",),
        "timestamp": now,
        "host": "h",
        "instance": "i",
    }
    return Heartbeat(bot_id=bot_id, **{**given, "status": "healthy", **fields})


async def write(world, *heartbeats):
    await world.run(*(WriteHeartbeat(each.bot_id, to_hash(each)) for each in heartbeats))


def fleet_reads(round_trips):
    """The round trips that read keys, as against those that open a link and look after it."""
    words = [
        {str(command[0], "ascii").upper() for command in batch if isinstance(command[0], bytes)}
        for batch in round_trips
    ]
    return [batch for batch in words if batch & {"ZREVRANGE", "HGETALL"}]


async def test_a_thousand_bots_are_read_in_two_round_trips(world, run, round_trips):
    await write(world, *(beat(f"bot{number}") for number in range(1000)))
    del round_trips[:]
    code, out, err = await run("ps", "--json", **env_of(world.server))
    assert (code, err, len(json.loads(out))) == (0, "", 1000)
    assert len(fleet_reads(round_trips)) == 2
    code, out, _ = await run("ps", "--host", "h")
    assert (code, len(out.splitlines())) == (0, 1001)


async def test_a_whole_fleet_is_waited_for_at_one_time(world, run):
    await write(world, *(beat(f"bot{number}") for number in range(1000)))
    code, out, err = await run("send", "--all", "hello", "--wait", "4", "--json", **env_of(world.server))
    receipts = json.loads(out)
    assert (code, {each["state"] for each in receipts}, len(receipts)) == (4, {"stored"}, 1000)
    assert err == "botvisor: not handled within 4 s: 1000 of 1000 messages\n"
    sent_ms = [int(each["id"].split("_")[1]) for each in receipts]
    assert max(sent_ms) - min(sent_ms) < 4000  # so none waited until another had waited in vain


async def test_an_empty_fleet_is_an_answer(world, run):
    assert await run("ps", "--json", **env_of(world.server)) == (0, "[]\n", "")
    assert (await run("ps"))[:2] == (0, "no live bots (--all shows those that ended)\n")
    assert (await run("why", "ada"))[0] == 1


async def test_what_is_left_of_a_killed_bot_when_its_heartbeat_has_expired(world, run):
    await write(world, beat("ada", room_url="https://x/room", health={"ledger": LEDGER, "uptime_s": 5}))
    await write(world, beat("ada", room_url="https://x/room", health={"ledger": LEDGER, "uptime_s": 15}))
    world.client.delete("heartbeat:ada")
    world.client.zadd("bots:alive", {"ada": (world.client.time()[0] - 60) * 1000})
    code, out, _ = await run("why", "ada", "--json", **env_of(world.server))
    answer = json.loads(out)
    assert (code, answer["status"], answer["ledger"]) == (0, "lost", LEDGER)
    assert answer["since_s"] == pytest.approx(90, abs=5)
    assert "was last heard of 1m" in answer["summary"]
    (row,) = json.loads((await run("ps", "--all", "--json"))[1])
    assert (row["status"], row["host"], row["room_url"]) == ("lost", "h", "https://x/room")
    assert 0 < world.client.ttl("bots:last:ada") <= 86_400


async def test_a_dump_in_this_hosts_files_tells_of_a_bot_on_redis(world, run, tmp_path):
    here = own("ada", "i")
    ours = {"pid": here.pid, "boot_id": here.boot_id, "pid_ns": here.pid_ns, "start_ticks": here.start_ticks}
    await write(world, beat("ada", **ours))
    (tmp_path / "heartbeat").mkdir(mode=0o700)
    dump = tmp_path / "heartbeat" / "ada.stack"
    dump.write_text(
        'Timeout (0:00:03)!\nThread 0x1 (most recent call first):\n  File "/srv/bot.py", line 7 in match\n'
        '  File "/srv/bot.py", line 9 in <module>\n'
    )
    later = dump.stat().st_mtime + 3  # a file's time may be some milliseconds behind the clock
    os.utime(dump, (later, later))
    answer = json.loads((await run("why", "ada", "--json", **env_of(world.server)))[1])
    assert answer["status"] == "blocked"
    assert answer["where"] == {"file": "/srv/bot.py", "line": 7, "function": "match"}


async def test_last_words_outlive_the_heartbeat(world, run):
    words = {"reason": "SIGTERM", "exit": "returned", "ledger": LEDGER}
    await write(world, beat("ada", status="stopped", epitaph=words))
    world.client.delete("heartbeat:ada")
    answer = json.loads((await run("why", "ada", "--json", **env_of(world.server)))[1])
    assert (answer["status"], answer["ledger"]) == ("stopped", LEDGER)
    assert "(SIGTERM): its main returned." in answer["summary"]


async def test_dead_letters_of_all_queues_are_shown_put_back_and_dropped(world, run):
    await write(world, beat("ada", room_url="https://x/room"))
    queues = [Queue("bot", "ada"), Queue("room", "https://x/room")]
    for number, queue in enumerate(queues):
        raw = json.dumps({"id": f"m{number}", "message": "hello", "sender_name": "Bo"}).encode()
        await world.run(PushMessage(queue, f"m{number}", raw), AcquireLease(queue, own("ada", "i")))
        claim = await world.ask(NextMessage(queue, "i", "a"))
        await world.ask(BuryMessage(queue, "i", claim.token, "not handled in 3 tries"))
    code, out, err = await run("inbox", "ada", "--json", **env_of(world.server))
    shown = {each["id"]: each for each in json.loads(out)}
    assert (code, err, set(shown)) == (0, "", {"m0", "m1"})
    assert shown["m1"].items() >= {
        "state": "dead", "queue": "room https://x/room", "store": "redis", "tries": 1, "sender": "Bo",
        "text": "hello", "reason": "not handled in 3 tries",
    }.items()  # fmt: skip
    assert (await run("inbox", "ada", "requeue", "m1"))[:2] == (0, "requeued 1 message\n")
    assert json.loads(world.client.lindex("admin:queue:https://x/room", 0))["resent"] is True
    assert (await run("inbox", "ada", "requeue", "m1"))[0] == 1
    assert (await run("inbox", "ada", "drop", "--dead", "--json"))[1] == (
        '{"target":"ada","dropped":["m0"],"failed":[]}\n'
    )
    assert [each["state"] for each in json.loads((await run("inbox", "ada", "--json"))[1])] == ["queued"]


async def test_a_message_of_which_the_spool_has_a_copy_is_shown_once_and_dropped_from_both(
    world, run, tmp_path
):
    words = {"reason": "SIGTERM", "exit": "returned"}
    await write(world, beat("ada", status="stopped", epitaph=words))  # so what is sent goes to both
    env, spool = env_of(world.server), tmp_path / "admin_message"
    ids = [json.loads((await run("send", "ada", text, "--json", **env))[1])["id"] for text in ("one", "two")]
    assert len(list(spool.glob("admin-ada-*.json"))) == 2
    assert [each["id"] for each in json.loads((await run("inbox", "ada", "--json"))[1])] == ids
    assert "2 messages wait for it" in (await run("why", "ada"))[1]
    assert (await run("inbox", "ada", "drop", ids[0]))[:2] == (0, "dropped 1 message\n")
    assert len(list(spool.glob("admin-ada-*.json"))) == 1
    await world.lease(own("ada", "i"), Queue("bot", "ada"))
    claim = await world.take(instance="i", queue=Queue("bot", "ada"))
    await world.take(done_with(claim), instance="i", queue=Queue("bot", "ada"))
    assert (await run("inbox", "ada", "--json"))[1] == "[]\n"  # the copy is there yet
    assert len(list(spool.glob("admin-ada-*.json"))) == 1


async def test_a_command_for_a_bot_elsewhere_that_redis_refuses_is_not_said_to_be_told(world, run, tmp_path):
    await write(world, beat("ada"))
    world.client.config_set("maxmemory", 1)
    code, out, err = await run("stop", "ada", **env_of(world.server))
    assert (code, out) == (1, "")
    assert err.startswith("botvisor: ada was not told to stop: Redis: OOM ")
    assert err.endswith(", and nobody serves bot ada on this host\n")
    assert list((tmp_path / "admin_message").glob("ctl-*")) == []


async def test_without_redis_this_hosts_files_are_shown_and_it_is_said(run):
    away = {"USE_REDIS": "true", "REDIS_URL": f"redis://127.0.0.1:{free_port()}"}
    code, out, err = await run("ps", "--json", **away)
    assert (code, out) == (0, "[]\n")
    assert err.startswith("botvisor: Redis is away (")
    assert len(err.splitlines()) == 1
    code, out, err = await run("doctor", "--json")
    (server,) = [each for each in json.loads(out) if each["topic"] == "server"]
    assert (code, err, server["level"]) == (1, "", "problem")
    assert "redis-cli" in server["remedy"]
    code, out, err = await run("ps", BOT_FILE_FALLBACK="false")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("given", [None, "wrong"])
async def test_a_wrong_password_is_told_with_what_to_do_and_never_shown(servers, run, given):
    server = await servers(f'requirepass "{PASSWORD}"')
    secret = {"REDIS_SHARED_SECRET": given} if given else {}
    code, out, err = await run("ps", "--json", **env_of(server), **secret)
    assert (code, out) == (0, "[]\n")
    assert "REDIS_SHARED_SECRET" in err
    assert len(err.splitlines()) == 1
    code, out, _ = await run("doctor")
    assert code == 1
    assert "→ server: " in out
    assert "REDIS_SHARED_SECRET" in out
    code, out, err = await run("doctor", "--json", REDIS_SHARED_SECRET=PASSWORD)
    assert (code, err) == (0, "")
    found = {each["topic"]: each["level"] for each in json.loads(out)}
    assert (found["server"], found["acl"], found["password"]) == ("ok", "ok", "ok")
    assert PASSWORD not in out


async def test_redis_may_be_named_on_the_command_line_and_a_password_there_is_warned_of(world, run):
    await write(world, beat("ada"))
    bare = world.server.url
    for arguments in (("--redis-url", bare, "ps", "--json"), ("ps", "--json", "--redis-url", bare)):
        code, out, err = await run(*arguments, REDIS_URL="nonsense")
        assert (code, err, [row["bot_id"] for row in json.loads(out)]) == (0, "", ["ada"])
    world.client.config_set("requirepass", "secret")
    code, out, err = await run("--redis-url", bare.replace("//", "//:secret@"), "ps", "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "the password in --redis-url can be read by everybody" in err
    assert "secret@" not in err
    world.client.execute_command("AUTH", "secret")  # Redis 5 asks open connections for it, too
    world.client.config_set("requirepass", "")
    code, _, err = await run("--redis-url", "http://x", "ps")
    assert code == 1
    assert "REDIS_URL" in err


async def test_doctor_finds_a_policy_that_loses_messages_and_rights_that_are_missing(servers, run):
    server = await servers("maxmemory-policy allkeys-lru", "appendonly no", name="redis-6")
    world = redis_world.RedisWorld(server)
    rules = ("on", ">pw", "~heartbeat:*", "~bots:*", "+@all", "-eval", "-evalsha", "allchannels")
    world.client.execute_command("ACL", "SETUSER", "bot", *rules)
    url = server.url.replace("//", "//bot@")
    code, out, _ = await run("doctor", "--json", USE_REDIS="true", REDIS_URL=url, REDIS_SHARED_SECRET="pw")
    problems = [each for each in json.loads(out) if each["level"] == "problem"]
    assert code == 1
    assert [each["topic"] for each in problems if each["topic"] == "eviction"]
    rights = {each["text"]: each["remedy"] for each in problems if each["topic"] == "acl"}
    assert set(rights) == {
        "we may not read identities",
        "we may not write queues",
        "we may not claim messages by scripts",
    }
    assert all("add to the ACL" in remedy for remedy in rights.values())
    await world.aclose()


async def test_doctor_shows_how_to_look_at_a_bot_by_hand(world, run):
    await write(world, beat("ada", room_url="https://x/room"))
    code, out, err = await run("doctor", "ada", "--json", **env_of(world.server))
    commands = [each["command"] for each in json.loads(out)]
    assert (code, err) == (0, "")
    assert f"redis-cli -h 127.0.0.1 -p {world.server.port} HGETALL heartbeat:ada" in commands
    assert any("admin:queue:pre-spawn:https://x/room" in each for each in commands)
    assert any(each.startswith("cat ") for each in commands)
