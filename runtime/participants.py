"""Who is in the room, as the next heartbeat will say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableSet
from typing import TypeVar

_Any = TypeVar("_Any")


class Participants(MutableSet[str]):
    """A set of participant ids, in the order they came.

    Args:
        on_change: called after each change.
    """

    def __init__(self, on_change: Callable[[], None] = lambda: None) -> None:
        self._ids: dict[str, None] = {}
        self._on_change = on_change

    def __contains__(self, participant_id: object) -> bool:
        return participant_id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._ids))

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"Participants({list(self._ids)})"

    def add(self, value: str) -> None:
        """Add a participant.

        Raises:
            TypeError: when it is not a text.
            UnicodeEncodeError: when it cannot be written as UTF-8.
        """
        if not isinstance(value, str):
            raise TypeError(f"a participant id is a text, not {type(value).__name__}")
        value.encode()
        if value not in self._ids:
            self._ids[value] = None
            self._on_change()

    def discard(self, value: str) -> None:
        """Remove a participant, if he is there."""
        if value in self._ids:
            del self._ids[value]
            self._on_change()

    def update(self, *groups: Iterable[str]) -> None:
        """Add several participants."""
        for group in groups:
            for value in group:
                self.add(value)

    @classmethod
    def _from_iterable(cls, it: Iterable[_Any]) -> set[_Any]:
        return set(it)  # what `|`, `&` and `-` make is a plain set: it concerns no heartbeat
