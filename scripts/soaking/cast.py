"""Who takes part in a run: its bots, and whom senders write to."""

from __future__ import annotations

import msgspec

from .options import Options

SHARED_ROOM = "https://soak.example/shared"
INJECTOR = "injector"  # sends now and then what makes an actor crash, once each


class BotRole(msgspec.Struct, frozen=True, kw_only=True):
    """A bot. Those of the shared room go by their pid, as each successor does; the rest keep their id."""

    name: str
    bot_id: str
    room: str


class Cast(msgspec.Struct, frozen=True, kw_only=True):
    """Everybody."""

    bots: list[BotRole]
    senders: list[str]
    older_senders: list[str]
    targets: list[str]


def cast(options: Options) -> Cast:
    """Return who takes part."""
    shared = (options.bots + 1) // 2
    bots = [BotRole(name=f"shared{n}", bot_id="", room=SHARED_ROOM) for n in range(1, shared + 1)]
    own = [
        BotRole(name=f"own{n}", bot_id=f"own{n}", room=f"https://soak.example/own{n}")
        for n in range(1, options.bots - shared + 1)
    ]
    targets = [SHARED_ROOM]
    for bot in own:
        targets += [bot.bot_id, bot.room]
    return Cast(
        bots=bots + own,
        senders=[f"sender{n}" for n in range(1, options.senders + 1)],
        older_senders=[f"older{n}" for n in range(1, options.older_senders + 1)],
        targets=targets,
    )


def rooms(bots: list[BotRole]) -> dict[str, str]:
    """Return the room of each bot by its name."""
    return {bot.name: bot.room for bot in bots}


def share(messages: int, number: int, of: int) -> int:
    """Return how many messages fall to the sender of this number, from 0, when so many share them."""
    return messages // of + (number < messages % of)
