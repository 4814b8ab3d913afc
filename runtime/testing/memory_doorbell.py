"""The doorbell of a store in memory."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from botvisor.doorbell import End, Ring
from botvisor.store import Queue

from .memory import MemoryStore


class MemoryDoorbell:
    """Rings when something comes to a store in memory.

    Args:
        store: the store.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._rings: dict[Queue | str, dict[object, Ring]] = {}
        self._running = False
        self._store = store
        store.on_arrival(self._arrived)

    def subscribe(self, target: Queue | str, ring: Ring) -> End:
        """See `Doorbell`."""
        key = object()
        self._rings.setdefault(target, {})[key] = ring
        return lambda: self._end(target, key)

    def on_broadcast(self, receive: Callable[[bytes], None]) -> End:
        """See `Doorbell`."""
        return self._store.on_broadcast(receive)

    def on_identity_changed(self, room_url: str, changed: Callable[[str | None], None]) -> End:
        """See `Doorbell`: it tells of none, as entries of the cache age out."""
        return lambda: None

    async def run(self, started: Callable[[], None]) -> None:
        """See `Doorbell`."""
        self._running = True
        try:
            started()
            for target in list(self._rings):
                self._arrived(target)
            await anyio.sleep_forever()
        finally:
            self._running = False

    def _arrived(self, target: Queue | str) -> None:
        if self._running:
            for ring in list(self._rings.get(target, {}).values()):
                ring()

    def _end(self, target: Queue | str, key: object) -> None:
        rings = self._rings.get(target, {})
        rings.pop(key, None)
        if not rings:
            self._rings.pop(target, None)
