"""What a supervisor keeps everything in: the store, its doorbell, and what looks after them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from botvisor.actors.backend.outbox_tender import OutboxTender
from botvisor.actors.backend.retry import RetryingStore
from botvisor.actors.backend.stack_dump import StackDump

from .doorbell import Doorbell
from .logs import Log
from .store import Command, Store

Run = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs until it is cancelled; it calls its argument once it is ready."""


async def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Storage:
    """All of it.

    Args:
        store: carries commands out.
        doorbell: tells when something came.
        log: where everything is said.
        state: returns the figures for operators; ``mode`` says in a word where everything is kept, and each
            backend's own are those of `Operations.figures`.
        home: the mode in which all is well.
        children: what runs beside the store for as long as it is used, by the names of the children.
        on_mode: what is called, on the event loop, with each change of the mode.
        write_aside: carries commands out in place of a loop that stands still: from any thread, for a few
            seconds at most, on a connection of its own. None where nobody can.
        stack_dump: makes a bot's `StackDump`, for an id and some seconds; it blocks. None without files.
        aclose: lets go of what the store still holds, once everything has stopped.
        outbox: keeps durable messages; None where that is not needed, or not possible.
        ping: asks Redis whether it answers; None where it is not used.
    """

    store: Store
    doorbell: Doorbell
    log: Log
    state: Callable[[], dict[str, Any]]
    home: str
    children: Mapping[str, Run]
    on_mode: list[Callable[[], None]] = field(default_factory=list)
    write_aside: Callable[[Sequence[Command]], None] | None = None
    stack_dump: Callable[[str, float], StackDump] | None = None
    aclose: Callable[[], Awaitable[None]] = _nothing
    outbox: OutboxTender | None = None
    ping: Callable[[], Awaitable[bool]] | None = None


class _RunningDoorbell(Doorbell, Protocol):
    async def run(self, started: Callable[[], None]) -> None: ...


def plain_storage(
    store: Store,
    doorbell: _RunningDoorbell,
    log: Log,
    *,
    write_aside: Callable[[Sequence[Command]], None] | None = None,
    stack_dump: Callable[[str, float], StackDump] | None = None,
    aclose: Callable[[], Awaitable[None]] = _nothing,
) -> Storage:
    """Return the storage of one store that has no other behind it; what fails is tried again."""
    mode, retrying = log.backend, RetryingStore(store, log)

    def state() -> dict[str, Any]:
        figures = retrying.operations.figures()
        return {"mode": mode, "retries": figures["retries"], "fallbacks": 0, mode: figures}

    return Storage(
        store=retrying,
        doorbell=doorbell,
        log=log,
        state=state,
        home=mode,
        children={"doorbell": doorbell.run},
        write_aside=write_aside,
        stack_dump=stack_dump,
        aclose=aclose,
    )
