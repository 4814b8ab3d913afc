"""Those who take part in a benchmark of Redis, on one private server."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from botvisor.testing.redis_server import RedisServer, open_server

from . import peers
from .bare import LIMIT, SAME_LIMIT, Bare, SameCommands
from .machine import versions
from .operations import FIRST_PID, Contender
from .ours import OURS, open_guide
from .tables import Result


class Field:
    """The server, and who takes part.

    Args:
        server: the server.
        folder: for files.
        result: told of versions and of who is left out.
    """

    def __init__(self, server: RedisServer, folder: Path, result: Result) -> None:
        self.server = server
        self.folder = folder
        self.contenders: dict[str, Contender] = {}
        self._result = result
        self._stack = contextlib.AsyncExitStack()
        self._bare: Bare

    async def open(self, names: Sequence[str]) -> None:
        """Open contenders; who cannot be imported is left out."""
        port, shared = self.server.port, self._stack.enter_async_context
        self._bare = await Bare.open(port)
        self._stack.callback(self._bare.close)
        redis_py = await shared(peers.open_redis_py(port))
        glide: Any = None
        if peers.GLIDE in names or peers.GLIDE_BATCH in names:
            glide = await self._try(peers.GLIDE, lambda: shared(peers.open_glide(port)))
        for name in names:
            found: Any = None
            if name == peers.ORIGINAL:
                found = peers.Original(redis_py)
            elif name == peers.PIPELINES:
                found = peers.Pipelines(redis_py)
            elif name == peers.COREDIS:
                found = await self._try(name, lambda: shared(peers.open_coredis(port)))
            elif name in (peers.GLIDE, peers.GLIDE_BATCH):
                kind = peers.Glide if name == peers.GLIDE else peers.GlideBatch
                found = kind(glide) if glide is not None else None
            elif name in (LIMIT, SAME_LIMIT):
                found = await (Bare if name == LIMIT else SameCommands).open(port)
                self._stack.callback(found.close)
            elif name == OURS:
                found = await shared(open_guide(self.folder, self.server.url))
            if found is not None:
                self.contenders[name] = found
        self._result.versions = versions("coredis", "valkey-glide") | {"Redis": await self._version()}

    async def close(self) -> None:
        """Close them all."""
        await self._stack.aclose()

    async def empty(self, callers: int) -> None:
        """Empty the server, but for what each caller's operations are about: a bot that lives, an identity.

        A message for a bot that nobody has seen would be kept twice by botvisor, on Redis and on file.
        """
        await self._bare.ask(("FLUSHALL",))
        for pid in range(FIRST_PID, FIRST_PID + callers):
            await asyncio.gather(self._bare.heartbeat(pid), self._bare.write_identity(pid))

    async def _try(self, name: str, opened: Callable[[], Any]) -> Any:
        try:
            return await opened()
        except ImportError as error:
            self._result.left_out.append(f"{name}: {error}")
            return None

    async def _version(self) -> str:
        ((_, reply),) = [await self._bare.ask(("PING",), ("INFO", "server"))]
        lines = dict(line.partition(":")[::2] for line in reply.decode().splitlines())
        return lines.get("valkey_version") or lines["redis_version"]


@contextlib.asynccontextmanager
async def open_field(names: Sequence[str], result: Result) -> AsyncIterator[Field]:
    """Start a private server and open contenders on it.

    Args:
        names: who takes part; nobody else is opened.
        result: told of versions and of who is left out.
    """
    async with open_server("maxclients 20000") as server:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            field = Field(server, Path(folder), result)
            try:
                await field.open(names)
                yield field
            finally:
                await field.close()
