"""Hooks: what a bot's author wants to be told of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .bot import Bot
from .messages import AdminMessage

BotHook = Callable[[Bot], object]
"""Takes the bot; async, or not."""
MessageHook = Callable[[Bot, AdminMessage], object]
"""Takes the bot, and the message that its `main` was given."""
DegradedHook = Callable[[Bot, str], object]
"""Takes the bot, and why it is degraded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """Functions that are called when something happens to a bot: `run_bot(main, hooks=Hooks(on_ready=tell))`.

    They run beside `main`, one at a time and in order, and nothing waits for them. An async function runs on
    the event loop. Any other runs in a thread, so that it cannot block the loop: there it may look at the
    bot, and change nothing. Each has 5 s. One that raises, or takes longer, is logged once and harms nobody.
    At most 256 messages wait for `on_message`; further ones pass it by.

    Args:
        on_started: the bot's actors have started, so it is seen and can be reached; `main` is next.
        on_ready: `main` runs.
        on_message: `main` was given a message, with that message.
        on_degraded: something that the bot needs rests, or its store is away; with the reason.
        on_recovered: all is well again.
        on_draining: the bot is to stop, or `main` has ended: no more messages are taken.
        on_stopped: nothing of the bot is left. It and those before it have 5 s together.
    """

    on_started: BotHook | None = None
    on_ready: BotHook | None = None
    on_message: MessageHook | None = None
    on_degraded: DegradedHook | None = None
    on_recovered: BotHook | None = None
    on_draining: BotHook | None = None
    on_stopped: BotHook | None = None
