"""An actor under a supervisor, that writes down what happens to it."""

from contextlib import asynccontextmanager

import anyio

from botvisor.actor import Actor
from botvisor.cell import Cell
from botvisor.restart import Policy
from botvisor.supervisor import Supervisor

ONE_SECOND = Policy(base=1, cap=1, jitter=0)


async def idle():
    await anyio.sleep(1e-6)  # virtual time moves only when nothing can run


class Diary(Actor):
    """Writes down what happens to it."""

    entries: list

    async def start(self, ctx):
        self.ctx = ctx
        self.entries.append(f"start {ctx.generation}")

    async def handle(self, message):
        self.entries.append(message)
        match message:
            case Exception() | SystemExit():
                raise message
            case float():
                await anyio.sleep(message)
                self.entries.append(f"slept {message}")
        return message

    async def stop(self, reason):
        self.entries.append(f"stop: {reason}")


@asynccontextmanager
async def running(kind=Diary, *, policy=ONE_SECOND, capacity=1000):
    class Subject(kind):
        entries = []  # noqa: RUF012 - all its incarnations write into one

    supervisor = Supervisor()
    cell = Cell("subject", Subject, supervisor.timers, capacity=capacity, start_timeout=policy.start_timeout)
    async with anyio.create_task_group() as group:
        await group.start(supervisor.run)
        try:
            await supervisor.start(cell, policy)
            yield supervisor, cell, Subject.entries
        finally:
            with anyio.CancelScope(shield=True):
                await supervisor.shutdown("the end")
    assert cell.mailbox.fates.total() == cell.mailbox.taken_in
