"""A bot of a run: it writes each message down before it asks for the next one."""

from __future__ import annotations

import os
import time

import anyio
import anyio.to_thread

from botvisor import AdminMessage, Bot, run_bot
from botvisor.testing import crash

from .cast import cast
from .ledger import Ledger
from .place import named
from .records import Handled, Started

THINKS_S = 0.05  # about each message; whoever kills it then kills it with the message in its hands
CRASH = "crash"  # the text of a message that names the actor which is to crash


def main() -> None:
    """Run it until it is told to stop."""
    place, facts, name = named()
    role = next(bot for bot in cast(facts.options).bots if bot.name == name)
    ledger = Ledger(place.ledger(name))

    async def handle_all(bot: Bot) -> None:
        started = Started(bot=name, bot_id=bot.id, pid=os.getpid(), at=time.monotonic())
        await anyio.to_thread.run_sync(ledger.write, started)
        bot.participants.add(name)
        async for message in bot.inbox:
            await anyio.to_thread.run_sync(ledger.write, handled(bot, message))
            if message.text == CRASH and not message.redelivered:
                crash(bot, message.data["actor"])
            await anyio.sleep(THINKS_S)

    def handled(bot: Bot, message: AdminMessage) -> Handled:
        return Handled(
            id=message.id,
            bot=name,
            bot_id=bot.id,
            pid=os.getpid(),
            at=time.monotonic(),
            redelivered=message.redelivered,
            tries=message.tries,
            source=message.source,
        )

    run_bot(handle_all, room_url=role.room, bot_id=role.bot_id or None, log_level="INFO")


if __name__ == "__main__":
    main()
