"""Which store the settings ask for."""

from __future__ import annotations

from botvisor.actors.backend.doorbell import SpoolDoorbell
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings

from .bot_supervisor import BotSupervisor
from .errors import SettingsError
from .logs import Log


def new_supervisor(settings: Settings) -> BotSupervisor:
    """Return a supervisor over the store that the settings ask for; it does not run yet.

    Raises:
        SettingsError: when this version has no such store.
    """
    if settings.use_redis:
        raise SettingsError(
            ["USE_REDIS: Redis is not supported by this version yet: unset it, or set it to false"]
        )
    log = Log("file")
    store = FileStore(settings, notify=lambda level, text: getattr(log, level.lower())("client", text))
    return BotSupervisor(settings, store, SpoolDoorbell(store.spool), log, close=store.close)
