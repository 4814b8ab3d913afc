"""Fixtures for all tests: event loops in real and in virtual time."""

import os
import sys

import pytest

from botvisor.testing.clock import virtual_time

from .doorbell_rig import spool_files as spool_files
from .doorbell_rig import watched as watched
from .file_rig import files as files
from .store_worlds import world as world

# Or else each worker compiles all tests, and each process that a test starts all of botvisor, each time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

LOOPS = ["asyncio", "uvloop", "trio"]


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    """Each event loop in turn, in real time; mark a test `virtual_time` for virtual time."""
    name = request.param
    if request.node.get_closest_marker("virtual_time"):
        return virtual_time(name)
    return {
        "asyncio": ("asyncio", {"use_uvloop": False}),
        "uvloop": ("asyncio", {"use_uvloop": True}),
        "trio": ("trio", {}),
    }[name]
