"""The faults of a run, drawn from its seed: a pure function."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

import msgspec

from .cast import cast
from .options import Options

Kind = Literal["redis-kill", "hang", "reset", "bot-kill", "actor-crash", "full-disk"]

RESETS = ("rst", "lost-claim", "lost-exec", "kill-normal", "kill-pubsub")
ACTORS = ("heartbeat", "inbox", "identity", "backend")
CRASHES = (*(f"restart {actor}" for actor in ACTORS[:3]), *(f"crash {actor}" for actor in ACTORS))

_LASTS = {  # seconds, from and to
    "redis-kill": (0.2, 3.0),
    "hang": (0.3, 5.0),
    "reset": (0.0, 0.0),
    "bot-kill": (0.1, 2.0),
    "actor-crash": (0.0, 0.0),
    "full-disk": (1.0, 4.0),
}
_ROOM = {"redis-kill": 4, "hang": 4}  # how much of the time each takes, beside a reset
_EARLIEST, _LATEST = 0.1, 0.4  # where in its share of the time a fault strikes
_LONGEST = 0.5  # of that share; so two faults of one thing do not meet


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault: at so many seconds after the start, for so many.

    Args:
        number: from 1, in the order of their times.
        kind: what it is.
        target: a bot's name; else ``redis`` or ``disk``.
        how: which way a reset or a crash is done.
    """

    number: int
    kind: Kind
    target: str
    how: str
    at: float
    lasts: float


def draw(options: Options) -> list[Fault]:
    """Return the faults, in the order of their times.

    Each thing that can fail has its own row of faults: Redis, the disk, each bot, and the actors of all.
    Rows do not look at each other, so a bot may be killed while Redis hangs.
    """
    rng = random.Random(f"{options.seed}/faults")
    names = [bot.name for bot in cast(options).bots]
    redis: list[Kind] = ["redis-kill" for _ in range(options.redis_kills)]
    redis += ["hang" for _ in range(options.hangs)]
    redis += ["reset" for _ in range(options.resets)]
    rng.shuffle(redis)
    rows: list[tuple[str, Sequence[Kind]]] = [("redis", redis)]
    victims = [rng.choice(names) for _ in range(options.bot_kills)]
    rows += [(name, ["bot-kill"] * victims.count(name)) for name in names]
    rows += [("disk", ["full-disk"] * options.full_disks)]
    rows += [("", ["actor-crash"] * options.actor_crashes)]
    drawn: list[Fault] = []
    for target, kinds in rows:
        shares = [_ROOM.get(kind, 1) for kind in kinds]
        begins = 0.0
        for kind, share in zip(kinds, shares, strict=True):
            length = options.seconds * share / sum(shares)
            shortest, longest = _LASTS[kind]
            drawn.append(
                Fault(
                    number=0,
                    kind=kind,
                    target=target or rng.choice(names),
                    how=_how(kind, rng),
                    at=round(begins + length * rng.uniform(_EARLIEST, _LATEST), 3),
                    lasts=round(min(rng.uniform(shortest, longest), length * _LONGEST), 3),
                )
            )
            begins += length
    drawn.sort(key=lambda fault: fault.at)
    return [msgspec.structs.replace(fault, number=number) for number, fault in enumerate(drawn, 1)]


def _how(kind: Kind, rng: random.Random) -> str:
    if kind == "reset":
        return rng.choice(RESETS)
    return rng.choice(CRASHES) if kind == "actor-crash" else ""
