"""A call in a thread that nothing waits for at its end: neither the event loop nor the interpreter."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import anyio

from . import tasks


class DaemonCall:
    """A function that runs in a daemon thread of its own, from now on.

    Threads of an event loop's pool would keep the process from ending for as long as the function hangs.

    Args:
        function: the function; it sees the caller's context variables.
        arguments: what it is given.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = anyio.Event()
        context, wake = contextvars.copy_context(), tasks.waker()
        self._thread = threading.Thread(
            target=self._run, args=(context, wake, function, arguments), name="botvisor call", daemon=True
        )
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the function still runs."""
        return self._thread.is_alive()

    async def result(self) -> Any:
        """Wait for the function to end. A cancelled wait leaves it running.

        Returns:
            What it returned.

        Raises:
            BaseException: what it raised.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value

    def _run(
        self,
        context: contextvars.Context,
        wake: Callable[..., Any],
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
    ) -> None:
        try:
            self._value = context.run(function, *arguments)
        except BaseException as error:
            self._error = error
        with contextlib.suppress(RuntimeError):  # the event loop may have ended
            wake(self._done.set)
