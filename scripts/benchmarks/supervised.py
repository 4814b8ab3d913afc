"""An actor of botvisor's by itself: a supervisor and one cell, without a bot or a store."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import anyio

from botvisor.actor import Actor
from botvisor.cell import Cell
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor


@contextlib.asynccontextmanager
async def open_supervisor() -> AsyncIterator[Supervisor]:
    """Run a supervisor for as long as the block lasts."""
    supervisor = Supervisor()
    async with anyio.create_task_group() as group:
        await group.start(_run, supervisor)
        try:
            yield supervisor
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the benchmark is over")


@contextlib.asynccontextmanager
async def open_cell(
    factory: Callable[[], Actor], policy: Policy | None = None, *, capacity: int = 1024
) -> AsyncIterator[Cell]:
    """Run an actor for as long as the block lasts.

    Args:
        factory: makes each incarnation.
        policy: how it is restarted.
        capacity: how many messages may wait for it.
    """
    async with open_supervisor() as supervisor:
        cell = Cell("actor", factory, supervisor.timers, capacity=capacity)
        await supervisor.start(cell, policy or Policy())
        yield cell


async def _run(supervisor: Supervisor, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    await supervisor.run(task_status=task_status)
