"""The store's link to Redis: away and back, cut in mid-batch, fenced off, forbidden this and that."""

import anyio
import msgspec
import pytest

from botvisor.actors.backend.breaker import Failure
from botvisor.actors.backend.redis import RedisStore
from botvisor.actors.backend.redis_endpoint import Endpoint, Login
from botvisor.actors.backend.redis_errors import Kind, RedisUnavailable
from botvisor.config.secret import Secret
from botvisor.identities import new_identity
from botvisor.store import (
    AcquireLease,
    ListIdentities,
    NextMessage,
    PushMessage,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    Sweep,
    WriteHeartbeat,
    WriteIdentity,
)

from . import redis_server, redis_world
from .redis_world import ONE, QUEUE, ROOM, Q

redis = redis_world.redis
servers = redis_server.servers
VERSIONS_WITH_ACL = ["redis-6", "valkey-9"]


def push(message_id="m"):
    return PushMessage(QUEUE, message_id, msgspec.json.encode({"id": message_id, "message": "hi"}))


def write():
    return WriteIdentity(new_identity(ROOM, "ann", {"name": "Ann"}, "writer"))


BEAT = WriteHeartbeat("4711", {"pid": b"4711", "room_url": b"", "participants": b"[]", "timestamp": b""})


async def test_a_server_that_is_away_gives_each_command_an_error_of_its_own(servers):
    server = await servers()
    store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))
    assert await store.execute([push()]) == ["redis"]
    server.kill()
    for _ in range(2):  # the first finds the link cut, the second no server
        answers = await store.execute([push(), BEAT, ReadHeartbeat("4711")])
        assert [type(each) for each in answers] == [RedisUnavailable] * 3
        assert len(set(map(id, answers))) == 3
        assert {each.diagnosis.failure for each in answers} == {Failure.REFUSED}
    await server.start()
    assert await store.execute([push(), BEAT]) == ["redis", None]
    await store.aclose()


async def test_a_closed_store_opens_again(redis):
    await redis.ask(push())
    await redis.store.aclose()
    assert redis.store.link is None
    assert (await redis.store.ping()).version >= (5,)
    assert await redis.ask(push()) == "redis"


async def test_ping_says_what_is_wrong(servers):
    server = await servers("requirepass secret")
    store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))
    with pytest.raises(RedisUnavailable, match="REDIS_SHARED_SECRET") as caught:
        await store.ping()
    assert caught.value.diagnosis.failure is Failure.DENIED


@pytest.mark.parametrize("version", redis_world.VERSIONS)
async def test_a_server_that_was_started_anew_is_sent_the_scripts_again(servers, version):
    server = await servers("appendonly yes", "appendfsync always", name=version)
    store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))
    await store.execute([push(), AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a")])
    await server.restart()
    await store.execute([Sweep()])  # finds the link cut
    (claim,) = await store.execute([NextMessage(QUEUE, "one", "b")])
    assert (claim.raw, claim.tries) == (push().raw, 2)
    await store.aclose()


async def test_a_cancelled_batch_leaves_no_reply_for_the_next_and_no_late_write(servers):
    server = await servers()
    store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))
    await store.ping()
    server.pause()
    with anyio.move_on_after(0.1) as scope:
        await store.execute([push("late"), BEAT])
    assert scope.cancelled_caught
    server.resume()
    # Whether the late message made it was settled before these were read.
    late, following = ReadReceipt(QUEUE, "late"), ReadReceipt(QUEUE, "next")
    state, *others = await store.execute([late, push("next"), following])
    assert others == ["redis", "stored"]
    await anyio.sleep(0.1)
    assert await store.execute([late]) == [state]
    await store.aclose()


async def test_the_link_is_replaced_by_one_that_has_the_old_one_killed(redis):
    await redis.store.ping()
    old = redis.store.link
    redis.client.execute_command("CLIENT", "PAUSE", 300)
    with anyio.move_on_after(0.05):
        await redis.store.execute([push("late")])
    await redis.store.aclose()  # as before a probe
    with anyio.fail_after(10):
        await redis.store.ping()
    assert redis.store.link is not old
    ids = [int(each["id"]) for each in redis.client.client_list()]
    assert old.fence.client_id not in ids
    state = await redis.ask(ReadReceipt(QUEUE, "late"))
    await anyio.sleep(0.3)
    assert await redis.ask(ReadReceipt(QUEUE, "late")) == state


async def test_batches_of_two_tasks_take_turns(redis):
    results = []

    async def run(number):
        results.append((number, await redis.run(push(f"m{number}"), ReadReceipt(QUEUE, f"m{number}"))))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(run, number)
    assert sorted(results) == [(number, ["redis", "stored"]) for number in range(20)]


@pytest.mark.parametrize("version", redis_world.VERSIONS)
async def test_a_script_of_somebodys_that_hangs_the_server_is_no_fault_of_a_command(servers, version):
    server = await servers("lua-time-limit 50", name=version)
    store = RedisStore(Endpoint(host="127.0.0.1", port=server.port))
    await store.ping()
    server.talk(b"EVAL 'while true do end' 0\r\n", limit_s=0.2)
    answers = await store.execute([push(), ReadReceipt(QUEUE, "m")])
    assert {each.diagnosis.kind for each in answers} == {Kind.NOT_READY}
    assert server.talk(b"SCRIPT KILL\r\n") == b"+OK\r\n"
    with anyio.fail_after(10):
        while isinstance((await store.execute([push()]))[0], RedisUnavailable):
            pass
    await store.aclose()


# Access control lists

KEYS = "~heartbeat:* ~identity:* ~identity-index* ~admin:* ~bots:*"


@pytest.fixture(params=VERSIONS_WITH_ACL)
async def acl(request):
    """A function that gives a `RedisWorld` whose store logs in as a user with these rights."""
    world = redis_world.RedisWorld(await redis_world.server(request.param))

    def as_user(*rules):
        world.client.acl_setuser("bot", reset=True)
        world.client.execute_command("ACL", "SETUSER", "bot", "on", ">secret", *" ".join(rules).split())
        world.store = world.new_store(login=Login("bot", Secret("secret")))
        return world

    yield as_user
    world.client.acl_deluser("bot")
    await world.aclose()


async def test_the_documented_rights_are_enough(acl):
    channels = "resetchannels &admin:bot:* &identity-changed:*"
    redis = acl(KEYS, channels, "+@all -@dangerous +client +info")
    claim = (AcquireLease(QUEUE, ONE), NextMessage(QUEUE, "one", "a"))
    answers = await redis.run(BEAT, write(), push(), *claim, ListIdentities(ROOM), Sweep())
    assert not [each for each in answers if isinstance(each, Exception)]
    assert redis.notices == []


@pytest.mark.parametrize(
    "rules",
    ["&admin:broadcast +@all", "&* +@all -publish", "&identity-changed:* +@all"],
    ids=["no channel", "no PUBLISH", "no admin:bot"],
)
async def test_without_a_channel_everything_but_the_bell_works_and_is_warned_of_once(acl, rules):
    redis = acl(KEYS, "resetchannels", rules)
    for number in range(3):
        assert await redis.run(push(f"m{number}"), BEAT, write()) == ["redis", None, None]
    assert redis.client.llen(Q) == 3
    assert (await redis.ask(ReadIdentity(ROOM, "ann"))).merged()["name"] == "Ann"
    ((level, text),) = redis.notices
    assert level == "WARNING"
    assert "+publish" in text
    assert "&admin:bot:*" in text
    assert redis.without_lifetime() == []


async def test_a_channel_that_is_allowed_later_is_used_by_the_next_link(acl):
    redis = acl(KEYS, "resetchannels +@all")
    await redis.ask(push())
    redis.client.execute_command("ACL", "SETUSER", "bot", "allchannels")
    await redis.store.aclose()
    with redis.client.pubsub() as bell:
        bell.subscribe("admin:bot:4711")
        bell.get_message(timeout=5)
        await redis.ask(push())
        assert bell.get_message(timeout=5)["data"] == push().raw


async def test_without_scripts_one_sentence_says_which_rule_to_add(acl):
    redis = acl(KEYS, "&* +@all -eval -evalsha")
    sent, lease = await redis.run(push(), AcquireLease(QUEUE, ONE))
    assert sent == "redis"
    assert lease.diagnosis.kind is Kind.NO_EVAL
    assert lease.diagnosis.failure is Failure.DENIED
    assert "+eval +evalsha" in str(lease)


async def test_a_key_that_is_forbidden_fails_its_own_commands(acl):
    redis = acl(KEYS.replace("~identity:*", ""), "&* +@all")
    answers = await redis.run(BEAT, write(), push(), ReadIdentity(ROOM, "ann"))
    assert (answers[0], answers[2]) == (None, "redis")
    assert answers[1].diagnosis.failure is answers[3].diagnosis.failure is Failure.DENIED
    assert redis.client.llen(Q) == 1


async def test_listing_goes_on_where_looking_for_strays_is_forbidden(acl):
    redis = acl(KEYS, "&* +@all -scan")
    await redis.ask(write())
    assert [each.participant_id for each in await redis.ask(ListIdentities(ROOM))] == ["ann"]
    assert len(redis.notices) == 1


@pytest.mark.parametrize("rule", ["-multi", "-exec"])
async def test_without_transactions_nothing_is_sent_twice_and_the_link_is_left(acl, rule):
    redis = acl(KEYS, "&* +@all", rule)
    sent, lease = await redis.run(push(), AcquireLease(QUEUE, ONE))
    assert sent.diagnosis.failure is lease.diagnosis.failure is Failure.DENIED
    assert redis.client.llen(Q) <= 1
    assert redis.without_lifetime() == []
    redis.client.execute_command("ACL", "SETUSER", "bot", "+@all")
    assert await redis.run(push("n"), AcquireLease(QUEUE, ONE)) == ["redis", None]
