"""The doorbells of Redis and of the spool as one: a message may come to either."""

from __future__ import annotations

from collections.abc import Callable

from botvisor.doorbell import End, Ring
from botvisor.store import Queue

from .doorbell import SpoolDoorbell
from .redis_doorbell import RedisDoorbell


class BothDoorbells:
    """Hands a queue's subscription to its store's doorbell, and any other to both; each runs by itself.

    Args:
        redis: that of Redis.
        spool: that of the spool.
    """

    def __init__(self, redis: RedisDoorbell, spool: SpoolDoorbell) -> None:
        self._redis = redis
        self._spool = spool

    def subscribe(self, target: Queue | str, ring: Ring) -> End:
        """See `Doorbell`."""
        store = target.store if isinstance(target, Queue) else ""
        ends = [bell.subscribe(target, ring) for name, bell in self._bells() if store in ("", name)]

        def end() -> None:
            for each in ends:
                each()

        return end

    def on_broadcast(self, receive: Callable[[bytes], None]) -> End:
        """See `Doorbell`."""
        return self._redis.on_broadcast(receive)

    def on_identity_changed(self, room_url: str, changed: Callable[[str | None], None]) -> End:
        """See `Doorbell`."""
        return self._redis.on_identity_changed(room_url, changed)

    def _bells(self) -> tuple[tuple[str, RedisDoorbell | SpoolDoorbell], ...]:
        return (("redis", self._redis), ("file", self._spool))
