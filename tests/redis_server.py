"""Real Redis and Valkey servers for tests: each test's own, on loopback, ended with the test.

The programs come from where `botvisor.testing` finds them. BOTVISOR_TEST_SERVER names another one to run on
(`redis-5`, `redis-6`, `valkey-9`, `installed`, or a path), BOTVISOR_TEST_SERVERS_DIR another folder for those
out of wheels. Without a server a test is skipped, or fails if CI=true.

Take the fixture over by its name: ``from . import redis_server`` and ``servers = redis_server.servers``.
"""

import functools
import os
import tempfile
from pathlib import Path

import pytest

from botvisor.testing.held_port import HeldPort
from botvisor.testing.redis_programs import INSTALLED, WHEELS, NoServer, find_server, version_of
from botvisor.testing.redis_server import RedisServer as RedisServer
from botvisor.testing.redis_server import start_server

_held = []


def free_port():
    """Return a port on which nobody listens but who is told of it, for as long as the tests run."""
    _held.append(HeldPort())
    return _held[-1].number


@functools.cache
def find(name=None):
    """Return the path of a server program, or why there is none; downloads a wheel if need be.

    Args:
        name: one of `WHEELS`, ``installed``, or a path; None for the one that tests run on by default.
    """
    folder = os.environ.get("BOTVISOR_TEST_SERVERS_DIR")
    try:
        return find_server(
            name or os.environ.get("BOTVISOR_TEST_SERVER"), folder=Path(folder) if folder else None
        )
    except NoServer as error:
        return error


def need(name=None):
    """Return the path of a server program; without one the test is skipped, or fails in CI."""
    found = find(name)
    if isinstance(found, Path):
        return found
    if os.environ.get("CI", "").lower() in ("1", "true", "yes", "on"):
        pytest.fail(str(found))
    return pytest.skip(str(found))


def versions():
    """Name every server the suite knows: those of the wheels, and an installed one that is none of them."""
    program = find(INSTALLED)
    if not isinstance(program, Path):
        return list(WHEELS)
    kind, version = version_of(program)
    major = f"{kind}-{version.partition('.')[0]}"
    return [*WHEELS, *([INSTALLED] if kind and major not in WHEELS else [])]


@pytest.fixture
def servers():
    """Start servers of the test's own: ``await servers(*lines, name=None, sentinel=False)``."""
    started = []
    # Not tmp_path: the path of a unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:

        async def start(*lines, name=None, sentinel=False):
            place = Path(folder, str(len(started)))
            started.append(await start_server(need(name), place, lines, sentinel=sentinel))
            return started[-1]

        try:
            yield start
        finally:
            for server in started:
                server.close()
