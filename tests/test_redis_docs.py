"""docs/redis.md: what is shown there works, on real servers."""

import os
import re
import shlex

import anyio
import pytest

from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.config import load_settings
from botvisor.config.env import VARIABLES

from . import redis_bots, redis_server
from .bot_rig import logged, until
from .processes import ROOT, Program
from .readme import blocks, links, variables
from .redis_bots import process

servers = redis_server.servers
place = redis_bots.place

PAGE = "docs/redis.md"
TEXT = (ROOT / PAGE).read_text()
BLOCKS = blocks(PAGE)
OWNER = 'HGETALL "admin:owner:{admin:queue:12345}"'
URLS = re.findall(r"^\| `((?:rediss?|unix)[^`]*://[^`]*)` \|", TEXT, re.MULTILINE)


def of(language):
    return [code for kind, code in BLOCKS if kind == language]


@pytest.fixture
def anyio_backend():
    return "asyncio"


def test_each_block_is_of_a_kind_that_is_run_here():
    assert {language for language, _ in BLOCKS} == {"sh", "conf", "text", "python", "console"}


@pytest.mark.parametrize("code", of("sh"))
def test_the_variables_are_good_ones(code):
    given = variables(code)
    assert given.keys() <= VARIABLES.keys()
    assert endpoint_of(load_settings({"USE_REDIS": "true", **given})).host == "redis.internal"


@pytest.mark.parametrize("url", URLS)
def test_the_urls_are_good_ones(url):
    endpoint = endpoint_of(load_settings({"USE_REDIS": "true", "REDIS_URL": url}))
    assert (endpoint.tls is not None) == url.startswith("rediss")
    assert (endpoint.sentinels is not None) == ("sentinel" in url)
    assert (endpoint.nodes != ()) == ("cluster" in url)
    assert endpoint.db == (2 if "2" in url.rpartition("/")[2] else 0)
    assert (endpoint.credentials() != ()) == ("@" in url)
    assert endpoint.warnings == ()


def test_every_form_of_a_url_is_there():
    assert {url.partition("://")[0] for url in URLS} == {
        "redis",
        "rediss",
        "unix",
        "redis+sentinel",
        "rediss+sentinel",
        "redis+cluster",
        "rediss+cluster",
    }


@pytest.mark.parametrize("code", of("conf"))
async def test_a_server_takes_the_lines_of_its_configuration(servers, code, tmp_path):
    users = tmp_path / "users.acl"
    users.write_text((ROOT / "docs" / "acl" / "redis-6.acl").read_text())
    for name in ("redis-6", "valkey-9"):
        lines = code.replace("/etc/redis/users.acl", str(users)).splitlines()
        server = await servers(*lines, name=name)
        assert server.talk(b"PING\r\n").startswith(b"-NOAUTH" if "aclfile" in code else b"+PONG")


@pytest.mark.parametrize("code", of("python"))
def test_the_python_runs(code, tmp_path):
    async def main():
        found = redis_server.need()
        # The block finds its server as everybody does: on PATH.
        path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
        (tmp_path / "redis-server").symlink_to(found)
        server = redis_server.RedisServer(found, tmp_path / "server")
        await server.start()
        program = Program(code, tmp_path, USE_REDIS="true", REDIS_URL=server.url, PATH=path)
        try:
            assert await anyio.to_thread.run_sync(program.ends) == 0, program.err
            assert program.out == (["John True"] if "compat" in code else [])
        finally:
            program.close()
            server.close()

    anyio.run(main)


def commands():
    return [line.removeprefix("$ ") for code in of("console") for line in code.splitlines()]


async def test_the_commands_tell_of_a_bot(place):
    async with process(place.settings()) as fleet:
        await fleet.start(bot_id="12345")
        answers = {}
        for command in commands():
            program, *words = shlex.split(command)
            assert program == "redis-cli"
            answers[command] = place.redis.execute_command(" ".join(words[:1]), *words[1:])
    heartbeat, owner = (answers[f"redis-cli {words}"] for words in ("HGETALL heartbeat:12345", OWNER))
    assert heartbeat[b"bot_id"] == owner[b"bot_id"] == b"12345"
    assert 0 < answers["redis-cli TTL heartbeat:12345"] <= 30
    assert answers["redis-cli ping"]
    clients = answers["redis-cli CLIENT LIST"]
    assert sorted(re.findall(rb" name=(botvisor\S*)", clients)) == [b"botvisor", b"botvisor-bell"]


async def test_each_line_of_the_log_is_written_in_an_outage(place):
    with logged() as lines:
        async with process(place.settings(heartbeat_interval_s=0.2)) as fleet:
            bot = await fleet.start(bot_id="12345")
            await bot.bot.identities.write("user1", {"name": "John"})
            await fleet.client.send("12345", "hello", wait=5)
            place.server.kill()
            await fleet.until_on("file")
            await anyio.sleep(0.5)
            await place.server.start()
            await fleet.until_on("redis")
            await until(lambda: any("back to Redis" in line for line in lines))
    for shown in "".join(of("text")).splitlines():
        # Which error a dying server leaves behind is a matter of microseconds.
        pattern = re.escape(re.sub(r"(again: Redis: ).*", r"\1", shown)) + (
            ".*" if "again: " in shown else ""
        )
        pattern = re.sub(r"\\?\d+(\\\.\d+)?", r"[0-9.]+", pattern)
        assert any(re.fullmatch(pattern, line) for line in lines), (shown, lines)


def test_the_lines_of_the_table_of_troubles_are_those_of_the_code():
    told = "".join(file.read_text() for file in (ROOT / "actors" / "backend").glob("*.py"))
    for begins in re.findall(r"^\| `((?:Ping|Redis) [a-z ]+)", TEXT, re.MULTILINE):
        assert begins.rstrip() in told


@pytest.mark.parametrize("target", links(PAGE))
def test_a_link_leads_to_a_file(target):
    assert (ROOT / "docs" / target).exists()
