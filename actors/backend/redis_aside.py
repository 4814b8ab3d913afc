"""Writing to Redis beside the backend actor, while the event loop that it lives on stands still."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio

from botvisor.store import Command

from .files import FileStore
from .redis import RedisStore
from .redis_endpoint import Endpoint

LIMIT_S = 3.0


def write(
    endpoint: Endpoint,
    files: FileStore | None,
    state: Callable[[], dict[str, Any]],
    commands: Sequence[Command],
) -> None:
    """Carry commands out on a connection that is made for them; on the files if Redis is away or fails.

    It may be called in any thread that has no event loop, and takes a few seconds at most.

    Args:
        endpoint: where Redis is.
        files: the files; None without.
        state: tells whether Redis is in use; see `FailoverStore.state`.
        commands: the commands.
    """
    answers: list[Any] = [OSError("Redis is away")]
    if state()["mode"] == "redis":
        answers = anyio.run(_execute, endpoint, commands)
    if files is not None and any(isinstance(answer, Exception) for answer in answers):
        files.write_aside(commands)


async def _execute(endpoint: Endpoint, commands: Sequence[Command]) -> list[Any]:
    store = RedisStore(endpoint, connect_timeout_s=LIMIT_S, name="botvisor-stall")
    answers: list[Any] = [TimeoutError(f"no answer within {LIMIT_S:g} s")]
    with anyio.move_on_after(LIMIT_S):
        answers = await store.execute(commands)
    await store.aclose()
    return answers
