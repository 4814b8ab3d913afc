"""The assembly of a bot: its parts, put together and not yet running."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from botvisor.actors.heartbeat import HeartbeatActor
from botvisor.actors.identity import IdentityActor
from botvisor.actors.inbox import InboxActor
from botvisor.config import Settings

from . import bot_id
from .bot import Bot
from .cell import Cell
from .handle import BotHandle
from .health import Health
from .hook_runner import HookRunner
from .hooks import Hooks
from .identities import Identities, IdentityCache
from .inbox import Inbox
from .lane import Lane
from .process import Owner
from .ref import Ref
from .storage import Storage
from .supervisor import Supervisor
from .vitals import Vitals


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Puts bots together out of what all bots of a supervisor share.

    Args:
        settings: the settings of the process.
        storage: where everything is kept.
        core: supervises the bots' children.
        backend: the backend actor.
        health: looks after the bots' health.
    """

    settings: Settings
    storage: Storage
    core: Supervisor
    backend: Ref
    health: Health

    def new_bot(
        self, owner: Owner, room_url: str, *, start_timeout: float, grace: float, hooks: Hooks
    ) -> tuple[BotHandle, list[Cell]]:
        """Return a new bot's handle, and the cells of its actors in the order in which they are started.

        Args:
            owner: who the bot is.
            room_url: the room that it serves.
            start_timeout: the limit of an actor's start, in seconds.
            grace: how long `main` has to end when the bot is stopped, in seconds.
            hooks: what is called when something happens to the bot.
        """
        inbox, cache, began = Inbox(), IdentityCache(), time.monotonic()
        inbox.lanes = [Lane(queue) for queue in bot_id.queues(owner, room_url, self.settings)]
        vitals = Vitals(owner, room_url, lambda: self._probe(owner.bot_id, began, inbox))
        backend, doorbell, log = self.backend, self.storage.doorbell, self.storage.log
        actors = {
            "identity": lambda: IdentityActor(cache, backend, log),
            "heartbeat": lambda: HeartbeatActor(vitals, backend, self.settings.heartbeat_interval_s, log),
            "inbox": lambda: InboxActor(
                inbox, owner, backend, doorbell, lambda control: handle.obey(control, log), log
            ),
        }
        cells = {
            kind: Cell(f"{owner.bot_id}/{kind}", factory, self.core.timers, start_timeout=start_timeout)
            for kind, factory in actors.items()
        }
        identities = Identities(room_url, owner.instance, cache, cells["identity"].ref)
        refs = {kind: cell.ref for kind, cell in cells.items()} | {"backend": backend}
        bot = Bot(vitals, inbox, identities, refs, lambda reason: handle.request_stop(reason))
        runner = HookRunner(hooks, bot, lambda: self.health.trouble(owner.bot_id), log)
        handle = BotHandle(bot, vitals, self.core, [cell.name for cell in cells.values()], grace, runner)
        handle.at_end.append(doorbell.on_identity_changed(room_url, cache.changed))
        return handle, list(cells.values())

    def _probe(self, bot_id: str, began: float, inbox: Inbox) -> tuple[dict[str, Any], bool]:
        health, degraded = self.health.probe(bot_id, began)
        return health | {"main": inbox.progress()}, degraded
