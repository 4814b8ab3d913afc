"""Secrets are planted in a run; then everything that it has left is searched for them.

The run goes on at the most talkative: loguru at its lowest level, with the values of variables in tracebacks.
"""

import http.client
import json
import secrets
import signal
import time

import pytest

from . import redis_server
from .processes import LIMIT_S, Scripts
from .redis_server import free_port

servers = redis_server.servers


class Planted:
    """Secrets, each found nowhere else in the world, and what a run has left so far."""

    def __init__(self):
        self.texts = {
            name: f"planted{secrets.token_hex(12)}" for name in ("redis", "web", "local", "wrong", "url")
        }
        self.left = {}

    def __getattr__(self, name):
        return self.texts[name]

    def add(self, where, what):
        """Keep what a run has left."""
        self.left[where] = what if isinstance(what, bytes) else str(what).encode()

    def assert_unseen(self):
        assert sum(map(len, self.left.values())) > 1000
        seen = [
            f"the secret {name} in {where}: {line[:300].decode()}"
            for where, what in self.left.items()
            for line in what.splitlines()
            for name, text in self.texts.items()
            if text.encode() in line
        ]
        assert not seen, "\n".join(seen)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def planted():
    return Planted()


TALKATIVE = """
import traceback
from loguru import logger
logger.remove()
logger.add(sys.stderr, level="TRACE", diagnose=True, backtrace=True)
logger.enable("botvisor")
"""
BOT = """
api_key = os.environ["LOCAL_SECRET"]
await bot.identities.write("ann", {"sessionUserName": "Ann"})
print("running")
async for message in bot.inbox:
    while message.text == "block" and not os.path.exists("go on"):
        time.sleep(0.02)
    if message.text == "fail":
        raise ValueError(message.text)
"""
# Several commands in one process: to start it takes longer than all of them.
COMMANDS = """
from botvisor.cli import main
for line in os.environ["COMMANDS"].splitlines():
    with contextlib.suppress(SystemExit):
        main(line.split())
"""


def everything_on(client):
    """All that a server holds and tells."""
    read = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    for key in client.scan_iter():
        yield f"the key {key}", (key, read[client.type(key)](key))
    yield "the clients", client.execute_command("CLIENT", "LIST")
    yield "the slow log", client.slowlog_get()


def get(port, path, **fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.request("GET", path, headers=fields)
    answer = connection.getresponse()
    text = f"{answer.status} {answer.getheaders()} {answer.read()}"
    connection.close()
    assert answer.status in (200, 303, 404), text
    return text


async def test_what_a_run_leaves_holds_no_secret(servers, tmp_path, planted):
    import redis

    password = planted.redis
    server = await servers(f"requirepass {password}", f"user bot on >{password} ~* &* +@all", name="redis-6")
    env = {
        "USE_REDIS": "true",
        # The secret beats the password in the URL.
        "REDIS_URL": f"redis://bot:{planted.url}@127.0.0.1:{server.port}",
        "REDIS_SHARED_SECRET": password,
        "REDIS_AUTH_REQUIRED": "1",
        "LOCAL_SECRET": planted.local,
        "WEB_TOKEN": planted.web,
    }
    probes, web = free_port(), free_port()

    def botvisor(*lines):
        program = scripts.start(TALKATIVE + COMMANDS, COMMANDS="\n".join(lines), **env)
        assert program.ends() == 0
        planted.add(f"what {lines} printed", "\n".join([*program.out, *program.err]))

    with Scripts(tmp_path) as scripts, redis.Redis(port=server.port, password=password, protocol=2) as client:
        more = {"BOT_PROBE_PORT": str(probes), "BOT_BLOCKED_AFTER_SECS": "0.3"}
        where = "room_url='https://example.test/room', bot_id='ada'"
        bot = scripts.bot(BOT, where, head=TALKATIVE, **env, **more)
        page = scripts.start(TALKATIVE + COMMANDS, COMMANDS=f"web --port {web} --token-env WEB_TOKEN", **env)
        bot.says("running")
        page.says("serving")
        for path in ("/livez", "/readyz", "/metrics", "/none"):
            planted.add(f"the probe {path}", get(probes, path))
        botvisor("send ada hello --durable --wait 5", "why ada --stack", "send ada block", "doctor")
        deadline = time.monotonic() + LIMIT_S
        while client.hget("heartbeat:ada", "status") != b"blocked":
            assert time.monotonic() < deadline
        for place, what in everything_on(client):
            planted.add(f"{place} of a blocked bot", what)
        assert b" in main" in planted.left["the key b'heartbeat:ada' of a blocked bot"]
        botvisor("why ada", "ps --wide")
        for path in ("/", "/login", "/bot?id=ada", "/api/1/fleet", "/api/1/bot?id=ada"):
            planted.add(f"the page {path}", get(web, path, Authorization=f"Bearer {planted.web}"))
        planted.add("the page for strangers", get(web, "/"))
        (tmp_path / "go on").touch()
        botvisor(
            "send ada fail", "ps --all --json", "inbox ada --json", "identities https://example.test/room"
        )
        assert bot.ends() == 1
        botvisor("why ada --json", "ps --all")
        for place, what in everything_on(client):
            planted.add(place, what)
        page.stop(signal.SIGINT)
        for name, program in (("the bot", bot), ("the page", page)):
            planted.add(f"what {name} printed", "\n".join([*program.out, *program.err]))
        assert "ValueError: fail" in bot.stderr
    for path in tmp_path.rglob("*"):
        if path.is_file():
            planted.add(path, path.read_bytes())
    planted.assert_unseen()


FAILS = """
import json
from botvisor.cli import main
from botvisor.compat import redis_client
from botvisor.config import load_settings

async def send():
    async with open_client() as client:
        await client.send("ada", "hello")

async def start():
    async with open_bot(bot_id="ada") as bot:
        await bot.identities.write("ann", {})

async def compat():
    client = await redis_client.get_redis_client()
    try:
        await client.write_identity("r", "p", {})
    finally:
        await client.close()

def attempt(call, *arguments):
    try:
        print(call(*arguments))
    except BaseException as error:
        logger.exception("it failed")
        print(repr(error), str(error), error.args, traceback.format_exc())

first, *others = json.loads(os.environ.pop("GIVEN"))
for given in (first, *others):
    os.environ.update(given)
    print("given", given.keys())
    attempt(load_settings)
    attempt(main, ["doctor"])
    for call in (send, start, compat) if given == first else (send,):
        attempt(asyncio.run, call())
    for name in given:
        del os.environ[name]
"""
WRONG = [
    {"REDIS_URL": "redis://bot:{wrong}@127.0.0.1:{port}"},
    {"REDIS_URL": "redis://:{url}@127.0.0.1:{port}", "REDIS_SHARED_SECRET": "{wrong}"},
    {"REDIS_URL": "rediss://bot:{wrong}@127.0.0.1:{port}"},
    {"REDIS_URL": "redis://bot:{wrong}@127.0.0.1:1"},
    {"REDIS_URL": "redis+sentinel://bot:{wrong}@127.0.0.1:{port}/main?sentinel_password={url}"},
    {"REDIS_URL": "redis://bot:{wrong}@127.0.0.1:{port}x", "REDIS_SHARED_SECRET": "{url}"},
    {"REDIS_URL": "http://bot:{wrong}@127.0.0.1"},
    {"REDIS_URL": "redis://bot:{wrong}@127.0.0.1", "REDIS_DB": "x", "REDIS_SHARED_SECRET": "{url}"},
    {"REDIS_URL": "redis://bot:a/{wrong}@127.0.0.1"},
    {"REDIS_URL": "redis://127.0.0.1:{port}/{wrong}?password={url}"},
]


async def test_what_a_failing_run_says_holds_no_secret(servers, tmp_path, planted):
    server = await servers(f"requirepass {planted.redis}", name="redis-6")
    values = {"port": server.port, **planted.texts}
    given = json.dumps([{name: text.format(**values) for name, text in each.items()} for each in WRONG])
    env = {"USE_REDIS": "true", "BOT_FILE_FALLBACK": "false", "GIVEN": given}
    env["REDIS_CONNECT_TIMEOUT_SECS"] = "0.3"
    with Scripts(tmp_path) as scripts:
        program = scripts.start(TALKATIVE + FAILS, **env)
        assert program.ends(60) == 0
        assert program.stderr.count("it failed") > len(WRONG)
        planted.add("what it printed", "\n".join([*program.out, *program.err]))
    planted.assert_unseen()
