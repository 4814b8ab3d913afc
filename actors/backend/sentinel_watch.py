"""Leaving a primary that the Sentinels have replaced, though it still answers."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from .quarantine import Notify
from .redis import RedisStore
from .redis_endpoint import Endpoint, resolve
from .redis_errors import EndpointUnusable

EVERY_S = 1.0


class SentinelWatch:
    """Asks the Sentinels each second whether the primary is still the same.

    A primary that was replaced though it is well, or is cut off from the Sentinels and not from us, takes
    writes for about ten seconds more, until it is made a replica; then it forgets them.

    Args:
        endpoint: the Sentinels.
        redis: the store whose link is closed when it leads to another server; its next batch opens one to
            whom the Sentinels name then.
        notify: told, with a level and a text, of each change.
        every_s: how often they are asked, in seconds.
    """

    def __init__(
        self, endpoint: Endpoint, redis: RedisStore, notify: Notify, *, every_s: float = EVERY_S
    ) -> None:
        self._endpoint = endpoint
        self._redis = redis
        self._notify = notify
        self._every_s = every_s

    async def run(self, started: Callable[[], None]) -> None:
        """Watch until cancelled.

        Args:
            started: called at once.
        """
        started()
        while True:
            await anyio.sleep(self._every_s)
            await self._look()

    async def _look(self) -> None:
        link = self._redis.link
        if link is None or link.broken:
            return  # whoever opens the next one asks the Sentinels
        try:
            named = await resolve(self._endpoint, timeout_s=self._every_s)
        except (OSError, EndpointUnusable):
            return  # a primary that answers is used, Sentinels or not
        if named.address != link.address and link is self._redis.link:
            self._notify("INFO", f"The Sentinels name {named.address} in place of {link.address}")
            await self._redis.aclose()
