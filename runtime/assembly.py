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
from .bot_actors import BotActors
from .handle import BotHandle
from .health import Health
from .hook_runner import HookRunner
from .hooks import Hooks
from .identities import Identities, IdentityCache
from .inbox import Inbox
from .lane import Lane
from .process import Owner
from .ref import Ref
from .restart import Policy
from .storage import Storage
from .supervisor import Supervisor
from .vitals import Vitals

_BEAT_TOGETHER = 500  # bots of a process; more at one time would keep the loop, and the store, from the rest
_BEATS_APART_S = 0.5


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
    backend: Ref[Any, Any]
    health: Health

    def new_bot(
        self, owner: Owner, room_url: str, *, policy: Policy, grace: float, hooks: Hooks, bots: int
    ) -> BotHandle:
        """Return a new bot's handle; its actors have yet to be started.

        Args:
            owner: who the bot is.
            room_url: the room that it serves.
            policy: how its actors are restarted.
            grace: how long `main` has to end when the bot is stopped, in seconds.
            hooks: what is called when something happens to the bot.
            bots: how many there are already.
        """
        inbox, cache, began = Inbox(), IdentityCache(self.core.timers), time.monotonic()
        inbox.lanes = [Lane(queue) for queue in bot_id.queues(owner, room_url, self.settings)]
        backend, doorbell, log = self.backend, self.storage.doorbell, self.storage.log
        actors = BotActors(owner.bot_id, self.core, policy, {"backend": backend}, log)

        def probe() -> tuple[dict[str, Any], bool]:
            health, degraded = self.health.probe(owner.bot_id, actors.custom, began)
            return health | {"main": inbox.progress()}, degraded

        vitals = Vitals(owner, room_url, probe)
        actors.on_change = lambda: vitals.on_change()
        identity = actors.add("identity", lambda: IdentityActor(cache, backend, log))
        every_s, phase_s = self.settings.heartbeat_interval_s, bots // _BEAT_TOGETHER * _BEATS_APART_S
        actors.add("heartbeat", lambda: HeartbeatActor(vitals, backend, every_s, log, phase_s))
        actors.add(
            "inbox",
            lambda: InboxActor(
                inbox, owner, backend, doorbell, lambda control: handle.obey(control, log), log
            ),
        )
        identities = Identities(room_url, owner.instance, cache, identity)
        bot = Bot(vitals, inbox, identities, actors, lambda reason: handle.request_stop(reason))
        runner = HookRunner(hooks, bot, lambda: self.health.trouble(owner.bot_id, actors.custom), log)
        handle = BotHandle(bot, vitals, self.core, actors, grace, runner)
        handle.at_end.append(doorbell.on_identity_changed(room_url, cache.changed))
        return handle
