"""Fault hooks: make the parts of a running bot fail, to see that it goes on."""

from __future__ import annotations

from botvisor.bot import Bot
from botvisor.cell import Fault


class InjectedFaultError(Exception):
    """What a crashed actor raises, unless it was told to raise something else."""


def crash(bot: Bot, actor: str, error: Exception | None = None) -> None:
    """Make an actor of a bot crash; its supervisor restarts it.

    Args:
        bot: the bot.
        actor: ``identity``, ``heartbeat``, ``inbox`` or ``backend``; or one that `Bot.start_actor` started.
        error: what the actor raises.

    Raises:
        KeyError: when the bot has no such actor.
        ActorStopped: when it is stopped or parked already.
    """
    bot.actors[actor].tell(Fault(error or InjectedFaultError("a test made it crash")))
