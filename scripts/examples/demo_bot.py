"""The bot of ./scripts/demo. It says what happens to it on standard output, one JSON object a line."""

import json
import sys

import anyio

from botvisor import AdminMessage, Bot, run_bot
from botvisor.testing import crash


def say(what: str, **more: object) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


async def handle(bot: Bot, message: AdminMessage) -> None:
    say("message", text=message.text, redelivered=message.redelivered, tries=message.tries)
    if message.text == "crash your heartbeat":
        crash(bot, "heartbeat")
    elif message.text == "think hard" and not message.redelivered:
        await anyio.sleep_forever()  # whoever kills it now kills it with the message in its hands


async def main(bot: Bot) -> None:
    bot.participants.add("user1")
    await bot.identities.write("user1", {"sessionUserName": "John"})
    say("running", bot_id=bot.id)
    async for message in bot.inbox:
        await handle(bot, message)
    say("wrapping up")


if __name__ == "__main__":
    run_bot(main, room_url=sys.argv[1])
