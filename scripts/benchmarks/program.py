"""What all benchmarks share: their options, rounds in turns, progress, and where their figures go."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from loguru import logger

from . import machine, terminal
from .tables import Result, Table

_SAY_EVERY_S = 10.0  # where progress is piped


class Progress:
    """Says on standard error how far a benchmark has come.

    Args:
        name: the benchmark.
        steps: how many there will be.
    """

    def __init__(self, name: str, steps: int) -> None:
        self._name, self._steps, self._step = name, steps, 0
        self._told_at = time.monotonic()
        self._live = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """Say that another step begins."""
        self._step += 1
        words = f"{self._name}: {self._step} of {self._steps}: {what}"
        if self._live:
            print(f"\r\033[K{words}", end="", file=sys.stderr, flush=True)
        elif time.monotonic() - self._told_at >= _SAY_EVERY_S:
            self._told_at = time.monotonic()
            print(words, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def turns(names: Sequence[str], rounds: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each round and its order: nobody is always first."""
    for lap in range(rounds):
        start = lap % len(names)
        yield lap, [*names[start:], *names[:start]]


class Program:
    """A benchmark as a program of its own.

    Args:
        name: its name.
        about: what it measures: a module's docstring.
        rounds: how many it has, and how many with ``--quick``.
    """

    def __init__(self, name: str, about: str | None, *, rounds: tuple[int, int]) -> None:
        self.name = name
        self._rounds = rounds
        self.parser = argparse.ArgumentParser(prog=f"./scripts/bench {name}", description=about)
        self.parser.add_argument("--rounds", type=int, help=f"of each contender; {rounds[0]} by default")
        self.parser.add_argument("--quick", action="store_true", help="few and short rounds")
        self.parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there as JSON")

    def options(self) -> argparse.Namespace:
        """Return the options, `rounds` among them."""
        found = self.parser.parse_args()
        found.rounds = found.rounds or self._rounds[1 if found.quick else 0]
        if found.rounds < 1:
            self.parser.error("--rounds is at least 1")
        return found

    def run(
        self,
        measure: Callable[
            [argparse.Namespace, Result], Sequence[Table] | Coroutine[Any, Any, Sequence[Table]]
        ],
    ) -> None:
        """Measure, and show the tables or write them.

        Args:
            measure: is given the options and the result so far, to which it may add versions and who was
                left out; returns the tables, or what to await for them.
        """
        options = self.options()
        ready_environment()
        logger.remove()
        logger.add(sys.stderr, level="ERROR")  # contenders say nothing of what succeeds, either
        result = Result(benchmark=self.name, rounds=options.rounds, versions=machine.versions())
        before, began = machine.load(), time.monotonic()
        found = measure(options, result)
        result.tables = list(asyncio.run(found) if isinstance(found, Coroutine) else found)
        result.took_s = round(time.monotonic() - began, 1)
        result.load = (before, machine.load())
        if options.json:
            options.json.write_bytes(msgspec.json.encode(result))
        else:
            terminal.show(result)


def ready_environment() -> None:
    """Take settings of somebody else's out of the environment."""
    for name in [name for name in os.environ if name.startswith(("BOT_", "REDIS_", "USE_REDIS"))]:
        del os.environ[name]


def settings(folder: Path, url: str = "") -> dict[str, str]:
    """Return the environment of bots: on Redis at an address, or without one on the files of a folder."""
    redis = {"USE_REDIS": "true", "REDIS_URL": url} if url else {"USE_REDIS": "false"}
    homes = {
        f"BOT_{name}_DIR": str(folder / name.lower()) for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY")
    }
    return {**redis, **homes}
