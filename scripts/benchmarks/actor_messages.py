"""Telling an actor something and asking it: botvisor's actors, a bare anyio stream and other libraries.

Everybody runs on one asyncio loop, but for pykka, whose actors are threads. A tell is counted once it was
handled; in bursts of a thousand, as nobody waits for one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import anyio

from botvisor.actor import Actor, Context

from .machine import versions
from .program import Program, Progress, turns
from .supervised import open_cell
from .tables import Aim, Result, Table

STREAM = "anyio stream"
OURS = "botvisor"
PYKKA, XOSCAR, MODE = "pykka", "xoscar", "mode"
NAMES = (STREAM, OURS, PYKKA, XOSCAR, MODE)
BURST = 1000
CALLERS = 100
OFTEN = 10  # asks of a caller, one after the other
TIMEOUT_S = 10.0
TELL, ASK, ASK_MANY = "tell", "ask, 1 caller", f"ask, {CALLERS} callers"


class Talk(NamedTuple):
    """How an actor that adds one to a number is told and asked to."""

    tell_burst: Callable[[], Awaitable[None]]
    """tells it a thousand things and returns once they were handled"""
    ask: Callable[[], Awaitable[object]]


class Counter(Actor):
    """Counts what it is told, and answers with a number's successor."""

    count = 0
    done: asyncio.Event

    async def start(self, ctx: Context) -> None:
        Counter.count, Counter.done = 0, asyncio.Event()

    async def handle(self, message: int) -> int:
        Counter.count += 1
        if Counter.count % BURST == 0:
            Counter.done.set()
        return message + 1


@contextlib.asynccontextmanager
async def open_ours() -> AsyncIterator[Talk]:
    async with open_cell(Counter, capacity=BURST + CALLERS) as cell:
        ref = cell.ref

        async def tell_burst() -> None:
            Counter.count, Counter.done = 0, asyncio.Event()
            for number in range(BURST):
                ref.tell(number)
            await Counter.done.wait()

        yield Talk(tell_burst, lambda: ref.ask(1, timeout=TIMEOUT_S))


@contextlib.asynccontextmanager
async def open_stream() -> AsyncIterator[Talk]:
    """A task behind a bare memory object stream, which answers by futures: no restart, deadline or ledger."""
    send, receive = anyio.create_memory_object_stream[tuple[int, Any]](BURST + CALLERS)
    loop, count, done = asyncio.get_running_loop(), 0, asyncio.Event()

    async def serve() -> None:
        nonlocal count
        while True:
            try:
                number, answer = receive.receive_nowait()
            except anyio.WouldBlock:
                number, answer = await receive.receive()
            count += 1
            if answer is not None:
                answer.set_result(number + 1)
            if count % BURST == 0:
                done.set()

    async def tell_burst() -> None:
        nonlocal count
        count = 0
        done.clear()
        for number in range(BURST):
            send.send_nowait((number, None))
        await done.wait()

    async def ask() -> object:
        answer = loop.create_future()
        send.send_nowait((1, answer))
        return await answer

    async with anyio.create_task_group() as group:
        group.start_soon(serve)
        yield Talk(tell_burst, ask)
        group.cancel_scope.cancel()
    send.close()
    receive.close()


@contextlib.asynccontextmanager
async def open_pykka() -> AsyncIterator[Talk]:
    import pykka

    done = threading.Event()

    class Adder(pykka.ThreadingActor):
        count = 0

        def on_receive(self, message: int) -> int:
            self.count += 1
            if self.count % BURST == 0:
                done.set()
            return message + 1

    class Plain(pykka.ThreadingActor):
        def on_receive(self, message: int) -> int:
            return message + 1

    told, asked = Adder.start(), Plain.start()

    async def tell_burst() -> None:
        done.clear()
        for number in range(BURST):
            told.tell(number)
        done.wait()

    async def ask() -> object:
        return asked.ask(1)

    try:
        yield Talk(tell_burst, ask)
    finally:
        pykka.ActorRegistry.stop_all()


@contextlib.asynccontextmanager
async def open_xoscar() -> AsyncIterator[Talk]:
    import xoscar

    class Adder(xoscar.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def add(self, number: int) -> int:
            self.count += 1
            return number + 1

    pool = await xoscar.create_actor_pool("127.0.0.1", n_process=0)
    try:
        ref = await xoscar.create_actor(Adder, address=pool.external_address, uid="adder")

        async def tell_burst() -> None:
            for number in range(BURST):
                await ref.add.tell(number)
            await ref.add(1)

        yield Talk(tell_burst, lambda: ref.add(1))
    finally:
        await pool.stop()


@contextlib.asynccontextmanager
async def open_mode() -> AsyncIterator[Talk]:
    """mode has services and no mailbox of actors: one that takes from a queue, as its users write it."""
    import mode

    class Adder(mode.Service):
        def on_init(self) -> None:
            self.queue: asyncio.Queue[tuple[int, Any]] = asyncio.Queue()
            self.count, self.done = 0, asyncio.Event()

        @mode.Service.task
        async def _serve(self) -> None:
            while not self.should_stop:
                result = await self.wait(self.queue.get())
                if result.stopped:
                    return
                number, answer = result.result
                self.count += 1
                if answer is not None:
                    answer.set_result(number + 1)
                if self.count % BURST == 0:
                    self.done.set()

    service, loop = Adder(), asyncio.get_running_loop()

    async def tell_burst() -> None:
        service.count = 0
        service.done.clear()
        for number in range(BURST):
            service.queue.put_nowait((number, None))
        await service.done.wait()

    async def ask() -> object:
        answer = loop.create_future()
        service.queue.put_nowait((1, answer))
        return await answer

    async with service:
        yield Talk(tell_burst, ask)


async def ask_often(ask: Callable[[], Awaitable[object]]) -> None:
    for _ in range(OFTEN):
        await ask()


OPENED = {STREAM: open_stream, OURS: open_ours, PYKKA: open_pykka, XOSCAR: open_xoscar, MODE: open_mode}


async def each_us(act: Callable[[], Awaitable[object]], per_act: int, seconds: float) -> float:
    """Return the microseconds of each thing that an act does, over a while."""
    gc.collect()
    acts, began = 0, time.perf_counter()
    while (took_s := time.perf_counter() - began) < seconds:
        await act()
        acts += 1
    return took_s / (acts * per_act) * 1e6


async def measure(options: argparse.Namespace, result: Result) -> Sequence[Table]:
    seconds = options.seconds or (0.1 if options.quick else 0.5)
    table = Table(title="A message to an actor", unit="us each", baseline=STREAM, digits=2)
    table.note = "pykka's callers would block the event loop: they ask one after the other"
    for column in (TELL, ASK, ASK_MANY):
        table.aims += [
            Aim(contender=OURS, column=column, against=peer, at_most=1) for peer in (PYKKA, XOSCAR, MODE)
        ]
    async with contextlib.AsyncExitStack() as stack:
        everybody: dict[str, Talk] = {}
        for name in NAMES:
            try:
                everybody[name] = await stack.enter_async_context(OPENED[name]())
            except ImportError as error:
                result.left_out.append(f"{name}: {error}")
        progress = Progress("actor_messages", options.rounds * len(everybody))
        for _, order in turns(list(everybody), options.rounds):
            for name in order:
                progress.step(name)
                talk = everybody[name]
                table.add(name, TELL, await each_us(talk.tell_burst, BURST, seconds))
                table.add(name, ASK, await each_us(talk.ask, 1, seconds))

                async def ask_all(ask: Callable[[], Awaitable[object]] = talk.ask) -> None:
                    await asyncio.gather(*(ask_often(ask) for _ in range(CALLERS)))

                table.add(name, ASK_MANY, await each_us(ask_all, CALLERS * OFTEN, seconds))
        progress.close()
    table.rows = {name: table.rows[name] for name in NAMES if name in table.rows}
    result.versions = versions("pykka", "xoscar", "mode-streaming")
    return [table]


def main() -> None:
    program = Program("actor_messages", __doc__, rounds=(9, 2))
    program.parser.add_argument("--seconds", type=float, help="of each measurement in a round")
    program.run(measure)


if __name__ == "__main__":
    main()
