"""What a server must be and how it should be set up: told at the start, in one line that names the remedy."""

import dataclasses

import pytest

from botvisor.actors.backend.link import Server
from botvisor.actors.backend.redis_errors import EndpointUnusable, Kind, diagnose
from botvisor.actors.backend.redis_server_checks import policy_in, refuse_unfit

from . import redis_bots, redis_server
from .bot_rig import logged
from .redis_bots import process

servers = redis_server.servers
place = redis_bots.place


@pytest.fixture
def anyio_backend():
    return "asyncio"


def complaints(lines):
    return [line for line in lines if line.startswith(("WARNING", "ERROR"))]


async def run_a_bot(settings, receipts):
    async with process(settings) as fleet:
        await fleet.start()
        receipts.append(await fleet.client.send("ada", "hello", wait=5))


@pytest.mark.parametrize("name", redis_server.versions())
async def test_a_server_that_may_throw_messages_away_makes_one_error(servers, name, tmp_path):
    server = await servers("maxmemory-policy allkeys-lru", name=name)
    there, receipts = redis_bots.Place(server, tmp_path), []
    with logged() as lines:
        async with process(there.settings()) as fleet:
            await fleet.start()
            assert (await fleet.client.send("ada", "hello", wait=5)).where == "redis"
            there.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert (await fleet.client.send("ada", "on a new link", wait=5)).where == "redis"
    (error,) = [line for line in lines if line.startswith("ERROR")]
    assert "throws messages away once it is full" in error
    assert error.endswith("its maxmemory-policy is allkeys-lru: set maxmemory-policy to noeviction")
    there.redis.config_set("maxmemory-policy", "noeviction")
    with logged() as lines:
        await run_a_bot(there.settings(), receipts)
    assert complaints(lines) == []
    there.redis.close()


async def test_it_costs_nothing_per_batch(place):
    async with process(place.settings()) as fleet:
        await fleet.start()
        asked = place.redis.info("commandstats")["cmdstat_info"]["calls"]
        for number in range(5):
            await fleet.client.send("ada", str(number), wait=5)
        assert place.redis.info("commandstats")["cmdstat_info"]["calls"] == asked + 1  # this very question


async def test_a_node_of_a_cluster_that_nobody_has_set_up_is_left_for_the_files(servers, tmp_path):
    server = await servers("cluster-enabled yes")
    there, receipts = redis_bots.Place(server, tmp_path), []
    with logged() as lines:
        await run_a_bot(there.settings(), receipts)
    assert any("CLUSTERDOWN no node of the cluster has any slot" in line for line in lines)
    assert receipts[0].where.startswith("spool@")


async def test_a_sentinel_is_no_server(servers, tmp_path):
    primary = await servers()
    sentinel = await servers(f"sentinel monitor mymaster 127.0.0.1 {primary.port} 1", sentinel=True)
    receipts = []
    with logged() as lines:
        await run_a_bot(redis_bots.Place(sentinel, tmp_path).settings(), receipts)
    (error,) = complaints(lines)
    assert "this is a Sentinel, and no server: write redis+sentinel://host:port/service in REDIS_URL" in error
    with logged() as lines:
        settings = redis_bots.Place(primary, tmp_path).settings()
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
        await run_a_bot(dataclasses.replace(settings, redis_url=url), receipts)
    assert complaints(lines) == []
    assert [receipt.state for receipt in receipts] == ["handled"] * 2
    assert receipts[1].where == "redis"


@pytest.mark.parametrize("version", [(4, 0, 14), (3, 2, 100), (2, 8)])
def test_a_server_older_than_five_is_refused_in_one_sentence(version):
    with pytest.raises(EndpointUnusable) as caught:
        refuse_unfit(Server(version=version))
    text = ".".join(map(str, version))
    assert str(diagnose(caught.value)) == f"this is Redis {text}: Redis 5.0 or later is needed"
    assert diagnose(caught.value).kind is Kind.DENIED


@pytest.mark.parametrize(
    "server",
    [
        Server(),
        Server(version=(5, 0, 6), mode="standalone"),
        Server(version=(8, 2)),
        Server(kind="valkey", version=(1, 0)),
    ],
)
def test_what_does_not_tell_or_is_new_enough_is_taken(server):
    refuse_unfit(server)


def test_a_policy_is_read_where_it_is_told():
    assert policy_in(b"# Memory\r\nused_memory:1\r\nmaxmemory_policy:volatile-ttl\r\n") == "volatile-ttl"
    assert policy_in(b"# Memory\r\n") == ""
