"""An event loop that a state machine turns, step by step: time stands still between two steps."""

import asyncio

import anyio

from botvisor.testing.clock import virtual_time


class Loop:
    """An event loop in virtual time, for rules that are not asynchronous themselves.

    Args:
        name: ``asyncio`` or ``uvloop``.
    """

    def __init__(self, name="asyncio"):
        _, options = virtual_time(name)
        self._runner = asyncio.Runner(loop_factory=options["loop_factory"])

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
            started = asyncio.Event()
            task = asyncio.ensure_future(function(started))
            waiting = asyncio.ensure_future(started.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if task.done():
                task.result()
            return task

        return self.run(begin())

    def close(self):
        self._runner.close()
