"""Hooks take the bot, and are async or not; mypy tells what does not fit."""

from functools import partial

from botvisor import AdminMessage, Bot, Hooks, run_bot


async def told(bot: Bot) -> None:
    """Be told something."""


async def read(bot: Bot, message: AdminMessage) -> str:
    """Read a message."""
    return message.text


async def complain(pager: str, bot: Bot, reason: str) -> None:
    """Complain about a bot."""


async def main(bot: Bot) -> None:
    """Run."""


hooks = Hooks(
    on_started=told,
    on_ready=lambda bot: print(bot.id),
    on_message=read,
    on_degraded=partial(complain, "me"),
    on_recovered=None,
)
run_bot(main, hooks=hooks)

Hooks(on_message=told)  # type: ignore[arg-type]  # it is not given the message
Hooks(on_ready=read)  # type: ignore[arg-type]  # it wants a message
Hooks(told)  # type: ignore[call-arg]  # hooks are named
hooks.on_ready = told  # type: ignore[misc]  # they are given once
