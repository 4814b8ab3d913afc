"""Tasks of the running event loop: which one is current, how it ended, where it stands."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import anyio

Outcome = Literal["running", "returned", "failed", "unknown"]


def on_trio() -> bool:
    """Return whether this is called in a task of trio's, rather than of asyncio's."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


def current() -> Any:
    """Return the current task: an `asyncio.Task` or a `trio.lowlevel.Task`."""
    if on_trio():
        return sys.modules["trio"].lowlevel.current_task()
    return asyncio.current_task()


def clock() -> Callable[[], float]:
    """Return `anyio.current_time`, or what tells the same on the running event loop at a tenth of it."""
    if on_trio():
        return anyio.current_time
    loop = asyncio.get_running_loop()
    # asyncio's own is this, with a call round it.
    plain = getattr(loop.time, "__func__", None) is asyncio.BaseEventLoop.time
    return time.monotonic if plain else loop.time


def loop_reader() -> Callable[[], Any]:
    """Return a cheap function that returns the event loop that runs: it is for loops of this kind alone."""
    return sys.modules["trio"].lowlevel.current_trio_token if on_trio() else asyncio.get_running_loop


def is_closed(loop: Any) -> bool:
    """Return whether an event loop was closed, as far as it can be: nothing that it held ever goes on."""
    return isinstance(loop, asyncio.AbstractEventLoop) and loop.is_closed()


def outcome(task: Any) -> Outcome:
    """Return how a task ended; ``unknown`` on trio if its nursery was cancelled, by this task or not."""
    if isinstance(task, asyncio.Future):
        if not task.done():
            return "running"
        return "failed" if task.cancelled() or task.exception() is not None else "returned"
    if task.coro.cr_frame is not None:
        return "running"
    # A child that raises, a cancellation too, cancels its nursery: under one that goes on it has returned.
    nursery = task.parent_nursery
    return "unknown" if nursery is None or nursery.cancel_scope.cancel_called else "returned"


def on_end(task: Any, call: Callable[[], None]) -> None:
    """Call a function soon after a task has ended; it must neither block nor raise."""
    if isinstance(task, asyncio.Future):
        task.add_done_callback(lambda _: call())
    else:
        sys.modules["trio"].lowlevel.add_instrument(_Exit(task, call))


class _Exit:
    """Trio has no callback for the end of a task, but tells its instruments of each."""

    def __init__(self, task: Any, call: Callable[[], None]) -> None:
        self._task = task
        self._call = call

    def task_exited(self, task: Any) -> None:
        if task is self._task:
            sys.modules["trio"].lowlevel.remove_instrument(self)
            self._call()


def cancel_natively(task: Any) -> bool:
    """Cancel a task in its event loop's own way, if that is not a scope's. Returns whether it is not."""
    if isinstance(task, asyncio.Future):
        task.cancel()
        return True
    return False


def detach(run: Callable[[], Coroutine[Any, Any, None]], name: str) -> Any:
    """Start a task that no task group owns; the caller owns it and must see to its end.

    Args:
        run: must not raise on trio, where that would end the whole program.
        name: the task's name.

    Returns:
        The task: the event loop itself holds no strong reference to it.
    """
    if on_trio():
        return sys.modules["trio"].lowlevel.spawn_system_task(run, name=name)
    return asyncio.get_running_loop().create_task(run(), name=name)


class ChildGroup:
    """A task group whose children asyncio may cancel before their first step, as it does when its loop ends.

    anyio leaves the coroutine of such a child to the garbage collector, and Python warns that it was never
    awaited: here, there, or in somebody else's test. This group closes it.

    Attributes:
        cancel_scope: the task group's.
    """

    def __init__(self) -> None:
        self._group = anyio.create_task_group()
        self._unbegun: list[Coroutine[Any, Any, None]] = []
        self.cancel_scope: anyio.CancelScope

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self.cancel_scope = self._group.cancel_scope
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool | None:
        try:
            return await self._group.__aexit__(kind, error, where)
        finally:
            for child in self._still_unbegun():
                child.close()

    def start_soon(
        self, run: Callable[..., Coroutine[Any, Any, None]], *arguments: Any, name: str | None = None
    ) -> None:
        """Start a child; see `anyio.abc.TaskGroup.start_soon`."""
        child = run(*arguments)
        self._unbegun = [*self._still_unbegun(), child]
        self._group.start_soon(lambda: child, name=name or run.__qualname__)

    def _still_unbegun(self) -> list[Coroutine[Any, Any, None]]:
        return [each for each in self._unbegun if inspect.getcoroutinestate(each) == inspect.CORO_CREATED]


def waker() -> Callable[..., Any]:
    """Return what has a function called soon on the running event loop: from any thread, or a signal."""
    if on_trio():
        return sys.modules["trio"].lowlevel.current_trio_token().run_sync_soon  # type: ignore[no-any-return]
    return asyncio.get_running_loop().call_soon_threadsafe


def cancelled_from_outside() -> bool:
    """Return whether a cancel scope round the current one is cancelled."""
    return anyio.current_effective_deadline() == -float("inf")


def stack(task: Any) -> str:
    """Return where a task stands, innermost line last; no local variables."""
    coroutine = task.get_coro() if isinstance(task, asyncio.Task) else getattr(task, "coro", None)
    lines = []
    while coroutine is not None:
        frame: FrameType | None = (
            getattr(coroutine, "cr_frame", None)
            or getattr(coroutine, "gi_frame", None)
            or getattr(coroutine, "ag_frame", None)
        )
        if frame is not None:
            lines.append(f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}")
        coroutine = (
            getattr(coroutine, "cr_await", None)
            or getattr(coroutine, "gi_yieldfrom", None)
            or getattr(coroutine, "ag_await", None)
        )
    return "\n".join(lines) or "  (not started)"
