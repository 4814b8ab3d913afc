"""Two event loops in place of three, for what waits for real servers: uvloop runs the same code as asyncio.

Take the fixture over: ``from . import two_loops`` and ``anyio_backend = two_loops.anyio_backend``.
"""

import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    """asyncio and trio in turn."""
    return request.param
