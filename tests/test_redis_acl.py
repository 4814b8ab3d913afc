"""Access control lists: docs/acl on real servers, and what a missing rule is told with."""

import dataclasses
import re

import anyio
import pytest
import redis

from botvisor.actors.backend import failover

from . import redis_server
from .bot_rig import Reader, logged, until
from .processes import ROOT
from .redis_bots import ROOM, Place, process, takes_at_most, until_seen

servers = redis_server.servers

VERSIONS = [name for name in redis_server.versions() if name != "redis-5"]  # which has no users


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Guarded(Place):
    """A server whose users are those of a file of docs/acl, each with the password `secret`."""

    def __init__(self, server, folder, name):
        super().__init__(server, folder)
        self.name = name
        self.redis = self.login("default")

    @property
    def bots_are_no_operators(self):
        return self.name != "redis-6"

    def login(self, user):
        return redis.Redis(port=self.server.port, protocol=2, username=user, password="secret")

    def settings(self, *, user="bot", **more):
        url = f"redis://{user}:secret@127.0.0.1:{self.server.port}"
        return dataclasses.replace(super().settings(**more), redis_url=url)

    def set_user(self, *rules):
        self.redis.execute_command("ACL", "SETUSER", "bot", *rules)

    def denials(self):
        return [(each["username"], each["object"]) for each in self.redis.acl_log()]


def users_of(name):
    """The users for a version, as an operator makes them: with a password."""
    file = ROOT / "docs" / "acl" / ("redis-6.acl" if name == "redis-6" else "redis-7.acl")
    return file.read_text().replace(" on ", " on >secret ")


@pytest.fixture(params=VERSIONS)
async def guarded(request, servers, tmp_path):
    file = tmp_path / "users.acl"
    file.write_text(users_of(request.param))
    place = Guarded(await servers(f"aclfile {file}", name=request.param), tmp_path, request.param)
    yield place
    place.redis.close()


def complaints(lines):
    return [line for line in lines if line.startswith(("WARNING", "ERROR"))]


async def test_as_they_are_they_let_nobody_in(servers, tmp_path):
    for name in VERSIONS:
        file = tmp_path / f"{name}.acl"
        file.write_text((ROOT / "docs" / "acl" / f"redis-{6 if name == 'redis-6' else 7}.acl").read_text())
        server = await servers(f"aclfile {file}", name=name)
        assert server.talk(b"PING\r\n").startswith(b"-NOAUTH")
        for user in (b"default", b"bot", b"operator"):
            assert server.talk(b"AUTH %s ''\r\n" % user).startswith(b"-WRONGPASS")


async def test_bots_and_operators_can_do_all_their_work(guarded, monkeypatch):
    monkeypatch.setattr(failover, "FORWARD_EVERY_S", 0.2)
    guarded.send(f"pre-spawn:{ROOM}", id="early", message="before")
    with logged() as lines:
        operators, bots = guarded.settings(user="operator"), guarded.settings()
        async with process(operators) as operator, process(bots) as fleet:
            reader = Reader(broken=9)
            bot = await fleet.start(reader, policy=None)
            await until_seen(bot, "before")
            client = operator.client
            async with takes_at_most(0.9):  # by the bell: looking takes up to a second
                assert (await client.send("ada", "to the id", wait=5)).state == "handled"
            await client.send(ROOM, "to the room", wait=5, durable=True)
            await fleet.client.send("ada", "from a bot", wait=5)
            assert await client.broadcast("to everybody") == 1
            await until_seen(bot, "before", "to the id", "to the room", "from a bot", "to everybody")
            await bot.bot.identities.write("ann", {"name": "Ann"})
            guarded.redis.hset(f"identity:{ROOM}:bob", mapping=older("bob"))
            assert await bot.bot.identities.cleanup() == 0
            assert [each["participant_id"] for each in await client.identities(ROOM)] == ["ann", "bob"]
            assert [beat.bot_id for beat in await client.heartbeats()] == ["ada"]
            await client.control("ada", "restart", actor="inbox")
            await until(lambda: any("Restarted ada/inbox" in line for line in lines), 10)
            guarded.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert (await client.send("ada", "on a new link", wait=5)).where == "redis"
            await bot.stop("it is late")
            assert (await client.heartbeat("ada")).epitaph["reason"] == "it is late"
            (spooled,) = await forwarded(guarded, fleet)
            assert spooled.startswith(b'{"message":"from the spool"')
            await fleet.start()
            await client.control("ada", "stop")
            await until(
                lambda: guarded.redis.exists("heartbeat:ada", "admin:owner:{admin:queue:ada}") == 1, 10
            )
    assert guarded.denials() == []
    told = [line for line in complaints(lines) if "ada/inbox" not in line and "Trying" not in line]
    assert told == []


def older(participant):
    return {"participant_id": participant, "room_url": ROOM, "timestamp": "2026-01-01", "data": "{}"}


async def forwarded(guarded, fleet):
    """What comes to a queue on Redis of what a program without Redis left in the spool."""
    (guarded.folder / "admin_message" / "admin-bea-1.json").write_text('{"message":"from the spool"}')
    with anyio.fail_after(10):
        while not (found := guarded.redis.lrange("admin:queue:bea", 0, -1)):
            await anyio.sleep(0.05)
    return found


async def test_a_message_that_is_given_up_is_seen_by_operators(guarded):
    async with process(guarded.settings()) as fleet, process(guarded.settings(user="operator")) as operator:
        await operator.client.send("ada", "broken")
        for _ in range(3):
            bot = await fleet.start(Reader(broken=1))
            with pytest.raises(ValueError, match="broken"), anyio.fail_after(10):
                await bot.wait()
        await fleet.start()
        await operator.client.send("ada", "behind", wait=5)
        (dead,) = [each for each in await operator.client.messages("ada") if each.state == "dead"]
        assert b'"broken"' in dead.raw
    assert guarded.denials() == []


BAD_IDEAS = [
    ("KEYS", "*"),
    ("FLUSHALL",),
    ("CONFIG", "GET", "maxmemory"),
    ("ACL", "LIST"),
    ("CLIENT", "LIST"),
    ("MONITOR",),
    ("SCRIPT", "FLUSH"),
    ("GET", "somebody:elses"),
    ("EVAL", "return redis.call('GET', 'somebody:elses')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("PUBLISH", "somebody:elses", "x"),
    ("SUBSCRIBE", "somebody:elses"),
]


async def test_neither_may_do_what_is_none_of_their_work(guarded):
    for user in ("bot", "operator"):
        client = guarded.login(user)
        for command in BAD_IDEAS:
            with pytest.raises(redis.ResponseError, match=r"(?i)permission|can't"):
                client.execute_command(*command)
        client.close()


async def test_bots_take_control_commands_and_give_none(guarded):
    bot, operator = guarded.login("bot"), guarded.login("operator")
    control = "admin:ctl:{admin:queue:ada}"
    assert operator.rpush(control, "x") == 1
    assert operator.publish("admin:broadcast", "x") == 0
    assert (bot.exists(control), bot.lrange(control, 0, -1)) == (1, [b"x"])
    if guarded.bots_are_no_operators:
        for command in (
            ("RPUSH", control, "y"),
            ("EXPIRE", control, "9"),
            ("EVAL", "return redis.call('RPUSH', KEYS[1], 'y')", "1", control),
            ("PUBLISH", "admin:broadcast", "y"),
        ):
            with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
                bot.execute_command(*command)
    assert bot.lrem(control, 0, "x") == 1
    for client in (bot, operator):
        client.close()


# What is missing, and what the one line begins with that tells it.
MISSING = {
    "EVAL": (["-eval", "-evalsha"], "ERROR [redis-client] Redis cannot be used: "),
    "the channels": (["resetchannels"], "WARNING [redis-client] Redis forbids PUBLISH or SUBSCRIBE"),
    "PUBLISH and SUBSCRIBE": (
        ["-publish", "-subscribe"],
        "WARNING [redis-client] Redis forbids PUBLISH or SUBSCRIBE",
    ),
    "PUBLISH on all channels": (["allchannels", "-publish"], "WARNING [redis-client] Redis forbids PUBLISH"),
    "the keys": (["resetkeys"], "ERROR [redis-client] Redis cannot be used: "),
    "the queues": (
        ["resetkeys", "~heartbeat:*", "~identity:*", "~identity-index*", "~bots:*"],
        "ERROR [redis-client] Redis cannot be used: ",
    ),
    "HSET": (["-hset"], "ERROR [redis-client] Redis cannot be used: "),
    "what only scripts use": (["-hget", "-lpop"], "ERROR [redis-client] Redis cannot be used: "),
    "what a link asks first": (
        ["-client|id", "-client|setname", "-client|kill", "-info"],
        "WARNING [redis-client] Redis forbids what a new link asks first: ",
    ),
}


@pytest.mark.parametrize("missing", MISSING)
async def test_one_line_names_the_rule_and_that_rule_mends_it(guarded, missing):
    taken, beginning = MISSING[missing]
    if guarded.name == "redis-6":  # which takes a subcommand away only together with its command
        taken = ["-client" if rule.startswith("-client|") else rule for rule in taken]
    guarded.set_user(*taken)
    with logged() as lines:
        async with process(guarded.settings()) as fleet:
            await fleet.start()
            receipt = await fleet.client.send("ada", "hello", wait=5)
            assert receipt.state == "handled"
    (line,) = complaints(lines)
    assert line.startswith(beginning)
    rules = re.findall(r"(?<=[ ])[+~&][^ ,;]+", line.partition("add to the ACL")[2])
    if missing == "PUBLISH on all channels":
        rules = [rule for rule in rules if rule[0] != "&"]  # "unless it has all channels", as the line says
    guarded.set_user(*rules)
    with logged() as lines:
        async with process(guarded.settings()) as fleet:
            await fleet.start()
            async with takes_at_most(0.9):
                receipt = await fleet.client.send("ada", "hello", wait=5)
            assert (receipt.state, receipt.where) == ("handled", "redis")
    assert complaints(lines) == []
