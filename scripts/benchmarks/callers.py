"""So many callers at once: each carries out one operation after the other, as fast as it can."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

from .figures import quantile
from .operations import FIRST_PID, Operation

WARM_UP_S = 0.1


class Pace(NamedTuple):
    """How a round of callers went."""

    rate: float
    """operations per second"""
    p50_ms: float
    p99_ms: float


async def pace(operations: Sequence[Operation], callers: int, seconds: float) -> Pace:
    """Let callers work for a while.

    Args:
        operations: what each does in turn; callers are in different ones at one time.
        callers: how many.
        seconds: how long it is measured, after a warm-up.
    """
    times_s: list[float] = []
    ends_at = float("inf")
    waiting, all_work = set(range(FIRST_PID, FIRST_PID + callers)), asyncio.Event()

    async def call(pid: int) -> None:
        ended = time.perf_counter()
        for operation in itertools.islice(itertools.cycle(operations), pid % len(operations), None):
            began = ended
            await operation(pid)
            ended = time.perf_counter()
            if pid in waiting:
                waiting.discard(pid)
                if not waiting:
                    all_work.set()
            times_s.append(ended - began)
            if ended >= ends_at:
                return

    gc.collect()
    async with asyncio.TaskGroup() as group:
        for pid in range(FIRST_PID, FIRST_PID + callers):
            group.create_task(call(pid))
        await all_work.wait()  # connections open first
        await asyncio.sleep(WARM_UP_S)
        times_s.clear()
        began = time.perf_counter()
        ends_at = began + seconds
        await asyncio.sleep(seconds)
        done, took_s = times_s[:], time.perf_counter() - began
    return Pace(len(done) / took_s, quantile(done, 0.5) * 1000, quantile(done, 0.99) * 1000)
