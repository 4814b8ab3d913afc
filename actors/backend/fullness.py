"""Is Redis full? It answers, and takes nothing more: no reason to leave it, but to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from botvisor.store import Command, WriteHeartbeat

from .redis_errors import Kind, unavailable


class Fullness:
    """What the answers of Redis say of its memory.

    Each bot writes a heartbeat every few seconds, and hears when it had to be made room for: so the first one
    that is taken like any other shows that there is room again.

    Args:
        on_change: what is called when it has become full, or has room again; see `Circuit.on_change`.

    Attributes:
        told: what Redis said when it had no room, and what to do; empty while it has some.
    """

    def __init__(self, on_change: Sequence[Callable[[], None]]) -> None:
        self.told = ""
        self._on_change = on_change

    def see(self, commands: Sequence[Command], answers: Sequence[Any]) -> None:
        """Take in a batch and its answers."""
        before = bool(self.told)
        refusals = [each.diagnosis for each in unavailable(answers) if each.diagnosis.kind is Kind.FULL]
        if refusals:
            self.told = str(refusals[0])
        elif before and any(map(_shows_room, commands, answers)):
            self.told = ""
        if bool(self.told) != before:
            for call in self._on_change:
                call()


def _shows_room(command: Command, answer: Any) -> bool:
    return isinstance(command, WriteHeartbeat) and not isinstance(answer, Exception)
