"""The variables for Redis, each seen at work in a bot's process: database, id, TLS, user and password."""

import json

import anyio
import pytest
import redis

from botvisor.actors.backend import circuit, failover
from botvisor.actors.backend.breaker import SILENCE_S
from botvisor.config import load_settings
from botvisor.testing import open_proxy

from . import processes, redis_server, test_redis_stream

servers = redis_server.servers
scripts = processes.scripts
certificates = test_redis_stream.certificates

WAITS = "print('up')\nasync for message in bot.inbox:\n    print('got', message.text)"
HEARTBEAT = "heartbeat:12345"


@pytest.fixture
def anyio_backend():
    return "asyncio"


def client_of(server, **options):
    """An independent client; in RESP2, as Redis 5 has no HELLO."""
    return redis.Redis(port=server.port, protocol=2, **options)


async def started(scripts, **env):
    """A real bot with these variables, once it runs."""
    bot = scripts.bot(WAITS, USE_REDIS="true", BOT_ID="12345", BOT_LOG_LEVEL="INFO", **env)
    await anyio.to_thread.run_sync(bot.says, "up")
    return bot


@pytest.mark.parametrize(("variables", "database"), [({}, 5), ({"REDIS_DB": "3"}, 3), ({"REDIS_DB": "0"}, 0)])
async def test_the_variable_for_the_database_beats_the_url_only_when_it_is_set(
    servers, scripts, variables, database
):
    server = await servers()
    await started(scripts, REDIS_URL=f"{server.url}/5", **variables)
    found = []
    for number in range(16):
        with client_of(server, db=number) as client:
            if client.exists(HEARTBEAT):
                found.append(number)
    assert found == [database]


async def test_the_heartbeat_of_a_bot_with_an_id_has_the_guides_key_and_lifetime(servers, scripts):
    server = await servers()
    await started(scripts, REDIS_URL=server.url)
    with client_of(server, decode_responses=True) as client:
        assert 20 < client.ttl(HEARTBEAT) <= 30
        beat = client.hgetall(HEARTBEAT)
        assert {"pid", "room_url", "participants", "timestamp"} <= beat.keys()
        assert json.loads(beat["participants"]) == []


@pytest.mark.parametrize("login", [":secret", "bot:secret"])
async def test_a_password_in_the_url_lets_a_bot_in(servers, scripts, login):
    server = await servers("requirepass secret", "user bot on >secret ~* &* +@all", name="redis-6")
    bot = await started(scripts, REDIS_URL=f"redis://{login}@127.0.0.1:{server.port}")
    with client_of(server, password="secret") as client:
        assert client.exists(HEARTBEAT)
    assert "secret" not in bot.stderr


async def test_a_bot_speaks_tls_with_a_private_authority_a_certificate_and_a_password(
    servers, scripts, certificates
):
    server = await servers("requirepass secret")
    context = test_redis_stream.server_context(certificates, asks_clients=True)
    variables = {
        "REDIS_TLS_CA_FILE": str(certificates / "ca.crt"),
        "REDIS_TLS_CERT_FILE": str(certificates / "client.crt"),
        "REDIS_TLS_KEY_FILE": str(certificates / "client.key"),
        "REDIS_TLS_SERVER_NAME": "redis.internal",
    }
    async with open_proxy(server.port, tls=context) as before:
        bot = await started(
            scripts, REDIS_URL=f"rediss://default:secret@127.0.0.1:{before.port}", **variables
        )
        with client_of(server, password="secret") as client:
            assert client.exists(HEARTBEAT)
            client.publish("admin:bot:12345", '{"message":"over TLS"}')
            client.rpush("admin:queue:12345", '{"message":"over TLS"}')
            await anyio.to_thread.run_sync(bot.says, "got over TLS")
    assert "secret" not in bot.stderr


def test_a_quiet_link_that_died_is_known_within_thirty_seconds():
    assert circuit.IDLE_S + failover.FORWARD_EVERY_S + SILENCE_S <= 30


def test_connecting_and_commands_have_the_guides_five_seconds():
    settings = load_settings({})
    assert (settings.redis_connect_timeout_s, settings.redis_command_timeout_s) == (5, 5)
