"""The module names that bots knew before botvisor: `redis_client`, and three migration modules."""

from __future__ import annotations

import importlib
import sys

_NAMES = ("redis_client", "redis_heartbeat_migration", "redis_identity_migration", "redis_admin_migration")


def install() -> None:
    """Make the four modules importable by their bare names: ``from redis_client import get_redis_client``.

    They stand in for modules of those names, even if one was imported already; what was imported from that
    one stays as it is, so call this first.
    """
    for name in _NAMES:
        sys.modules[name] = importlib.import_module(f"{__name__}.{name}")
