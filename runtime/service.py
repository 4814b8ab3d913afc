"""The service that a bot's process is to its service manager."""

from __future__ import annotations

import anyio

from .handle import BotHandle
from .notifier import Notifier
from .timers import Timers

LOOK_S = 2.0  # at the bot's status


class Service:
    """Tells a service manager of one bot.

    Args:
        notifier: tells it.
        handle: the bot; its `main` runs.
        timers: the supervisor's, so that what is told comes from the loop that is to turn.
    """

    def __init__(self, notifier: Notifier, handle: BotHandle, timers: Timers) -> None:
        self._notifier = notifier
        self._handle = handle
        self._timers = timers

    async def tell(self) -> None:
        """Tell that the bot is ready, then how it is, and at last that it stops.

        While it drains, its manager is not told that it stops: systemd would give it a time limit.
        """
        if not self._notifier.listened_to:
            return
        self._notifier.ready()
        self._look()
        if self._notifier.watchdog_s:
            self._beat()
        await self._handle.bot.wait_stopping()
        self._tell_status()
        if not self._handle.drains:
            self._notifier.stopping()

    def _tell_status(self) -> None:
        reason = self._handle.outcome.reason
        self._notifier.status(
            f"bot {self._handle.id} is {self._handle.bot.status}" + (f": {reason}" if reason else "")
        )

    def _look(self) -> None:
        self._tell_status()
        self._timers.at(anyio.current_time() + LOOK_S, self._look)

    def _beat(self) -> None:
        self._notifier.alive()
        self._timers.at(anyio.current_time() + self._notifier.watchdog_s / 2, self._beat)
