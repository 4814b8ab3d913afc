"""Processes of a benchmark: they say on standard output when they are ready, and what they found."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

READY = "ready"
START_LIMIT_S = 180.0
ANSWER_LIMIT_S = 300.0
END_LIMIT_S = 60.0


class Child:
    """A module of this package in a process of its own. Get one from `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
        """Start it, and wait until it says that it is ready.

        Args:
            module: its name in this package.
            arguments: what it is given.
            env: variables more than ours.

        Raises:
            RuntimeError: when it ended first.
            TimeoutError: when it is not ready within three minutes.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", f"{__package__}.{module}", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
        child = cls(process)
        try:
            said = await asyncio.wait_for(child.line(), START_LIMIT_S)
            if said != READY:
                raise RuntimeError(f"{module} {' '.join(arguments)} is not ready: {said}")
        except BaseException:
            await child.close()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def line(self) -> str:
        """Return the next line that it prints.

        Raises:
            RuntimeError: when it has ended.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the benchmark ended with {await self._process.wait()}")
        return line.decode().strip()

    def ask(self) -> None:
        """Send it an empty line: it is to go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def found(self, limit_s: float = ANSWER_LIMIT_S) -> dict[str, Any]:
        """Return what it prints next, as JSON.

        Args:
            limit_s: how long that may take, in seconds.

        Raises:
            TimeoutError: when it takes longer.
        """
        figures: dict[str, Any] = json.loads(await asyncio.wait_for(self.line(), limit_s))
        return figures

    async def close(self) -> None:
        """End it: by SIGTERM, and if that does not help in time, at once."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), END_LIMIT_S)
            except TimeoutError:
                self._process.kill()
        await self._process.wait()


def ready() -> None:
    """Say that this process is ready."""
    print(READY, flush=True)


def say(figures: Mapping[str, Any]) -> None:
    """Say what this process found."""
    print(json.dumps(figures), flush=True)
