"""The limit of open files: a bot's leases on files are locks, and each lock is an open file."""

from __future__ import annotations

import contextlib
import resource

_OF_A_BOT = 6  # one lock for each of its queues, and what it opens for a moment
_OF_THE_REST = 256  # what the program around the bots opens


def make_room(bots: int) -> None:
    """Raise the soft limit, which is 1,024 on many systems, when so many bots might come near it.

    The hard limit stays as it is; where it is too low, nothing is changed.

    Args:
        bots: how many bots this process runs.
    """
    wanted = bots * _OF_A_BOT + _OF_THE_REST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or wanted <= soft:
        return
    raised = 2 * wanted if hard == resource.RLIM_INFINITY else min(2 * wanted, hard)
    if raised > soft:
        with contextlib.suppress(OSError, ValueError):  # forbidden: locks fail later, and say so
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
