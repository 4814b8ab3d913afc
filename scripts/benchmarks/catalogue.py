"""The benchmarks there are, in the order in which all of them run."""

from __future__ import annotations

from collections.abc import Sequence

BENCHMARKS = {
    "redis_operations": "operations on Redis by 1 to 1,000 callers, beside five ways to do without botvisor",
    "operation_kinds": "the same, each kind of operation by itself",
    "open_loop": "operations that arrive at random: processor, the slowest, errors",
    "guide_table": "the guide's table: Redis against files",
    "admin_latency": "an admin message, from sending it to main",
    "rooms": "listing a room among ever more keys, beside SCAN",
    "cached_reads": "reading an identity that is cached, beside a read from Redis",
    "fleet_listing": "botvisor ps of a fleet, beside a bare read",
    "actor_messages": "telling and asking an actor, beside anyio, pykka, xoscar and mode",
    "actor_restarts": "from a crash to running",
    "idle_actors": "memory and start of a hundred thousand actors",
    "many_bots": "1,000 and 10,000 bots in one process",
    "start_up": "import botvisor, and run_bot to main",
    "idle_cost": "processor and Redis commands of an idle bot",
    "redis_load": "what bots and messages cost the Redis that they share",
    "watchdog_cost": "what watching the event loop costs",
}


def chosen(names: Sequence[str]) -> list[str]:
    """Return the benchmarks that names stand for, each by its whole name or by how it begins; no names, all.

    Raises:
        ValueError: when one stands for none.
    """
    found: list[str] = []
    for name in names:
        its = [name] if name in BENCHMARKS else [each for each in BENCHMARKS if each.startswith(name)]
        if not its:
            raise ValueError(f"no benchmark is called {name!r}: there are {', '.join(BENCHMARKS)}")
        found += [each for each in its if each not in found]
    return found if names else list(BENCHMARKS)
