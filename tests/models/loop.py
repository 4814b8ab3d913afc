"""An event loop that a state machine turns, step by step: time stands still between two steps."""

import asyncio
import concurrent.futures
import math

import anyio
import anyio.from_thread
import trio.testing

from botvisor.testing.clock import virtual_time


class Loop:
    """An event loop in virtual time, for rules that are not asynchronous themselves.

    Args:
        name: ``asyncio`` or ``uvloop``.
    """

    def __init__(self, name="asyncio"):
        _, options = virtual_time(name)
        self._runner = asyncio.Runner(loop_factory=options["loop_factory"])
        self._kept = []

    @property
    def now(self):
        return self._runner.get_loop().time()

    def run(self, coroutine):
        """Turn until a coroutine has ended. Returns its result."""
        return self._runner.run(coroutine)

    def sleep(self, seconds):
        self.run(anyio.sleep(seconds))

    def keep(self, function):
        """Run an async function beside the steps. It sets the event it gets when the next step may come."""

        async def begin():
            started = anyio.Event()
            self._kept.append(asyncio.ensure_future(function(started)))
            waiting = asyncio.ensure_future(started.wait())
            await asyncio.wait([self._kept[-1], waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

        self.run(begin())
        self.check()

    def check(self):
        """Raise what ended a kept function, if it failed."""
        for each in self._kept:
            if each.done():
                each.result()

    def finish(self):
        """Turn until all kept functions have ended."""
        self.run(asyncio.wait(self._kept))
        self.check()

    def close(self):
        for each in self._kept:
            each.cancel()
        self._runner.close()


class TrioLoop(Loop):
    """The same on trio. It runs in a thread of its own, and its clock jumps only during a step."""

    def __init__(self):
        self._clock = trio.testing.MockClock(autojump_threshold=math.inf)
        self._opened = anyio.from_thread.start_blocking_portal("trio", {"clock": self._clock})
        self._portal = self._opened.__enter__()
        self._kept = []

    @property
    def now(self):
        return self._portal.call(trio.current_time)

    def run(self, coroutine):
        async def step():
            self._clock.autojump_threshold = 0
            try:
                return await coroutine
            finally:
                self._clock.autojump_threshold = math.inf

        try:
            return self._portal.call(step)
        finally:
            # What can run yet is not to run beside the next step's beginning.
            self._portal.call(trio.testing.wait_all_tasks_blocked)

    def keep(self, function):
        started = self._portal.call(anyio.Event)
        self._kept.append(self._portal.start_task_soon(function, started))
        self.run(started.wait())
        self.check()

    def finish(self):
        async def wait():
            while not all(each.done() for each in self._kept):
                await anyio.sleep(0.01)

        self.run(wait())
        self.check()

    def close(self):
        for each in self._kept:
            each.cancel()
        concurrent.futures.wait(self._kept, timeout=10)
        self._opened.__exit__(None, None, None)


LOOPS = {"asyncio": Loop, "uvloop": lambda: Loop("uvloop"), "trio": TrioLoop}
