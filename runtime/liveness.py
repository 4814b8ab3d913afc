"""Is it alive? What an observer makes of a heartbeat."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from . import process
from .heartbeat import Heartbeat
from .process import Owner

ENDED = ("stopped", "lost")


def age_s(heartbeat: Heartbeat) -> float:
    """Return how long ago a heartbeat was written, in seconds, by the clocks of its writer and of this host.

    A time without a zone is in UTC; one that cannot be read is infinitely old.
    """
    try:
        written = datetime.fromisoformat(heartbeat.timestamp)
        return max(0.0, time.time() - written.replace(tzinfo=written.tzinfo or UTC).timestamp())
    except (ValueError, OverflowError):
        return float("inf")


def status(heartbeat: Heartbeat, stale_s: float) -> str:
    """Return the status that an observer should show.

    Args:
        heartbeat: the bot's last heartbeat.
        stale_s: an older one is stale, `BOT_HEARTBEAT_STALE_SECS`.

    Returns:
        The status that the bot gave itself; ``lost`` when it has ended without last words; ``blocked`` when
        its process lives and says nothing, as when its event loop does not turn.
    """
    if heartbeat.status == "stopped":
        return "stopped"
    stale = age_s(heartbeat) > stale_s
    gone = process.gone(owner(heartbeat))
    if gone or (gone is None and stale):
        return "lost"
    return "blocked" if stale else heartbeat.status or "healthy"


def has_ended(heartbeat: Heartbeat) -> bool:
    """Return whether a bot has ended for sure, seen from here: it says so, or its process has."""
    return heartbeat.status == "stopped" or process.gone(owner(heartbeat)) is True


def owner(heartbeat: Heartbeat) -> Owner:
    """Return who wrote a heartbeat."""
    return Owner(
        instance=heartbeat.instance,
        bot_id=heartbeat.bot_id,
        host=heartbeat.host,
        boot_id=heartbeat.boot_id,
        pid_ns=heartbeat.pid_ns,
        pid=heartbeat.pid,
        start_ticks=heartbeat.start_ticks,
    )
