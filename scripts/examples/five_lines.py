"""The smallest bot: it says what operators tell it, until one says "wrap up"."""

from botvisor import Bot, run_bot


async def main(bot: Bot) -> None:
    async for message in bot.inbox:
        print(f"{message.sender_name or 'somebody'} says: {message.text}", flush=True)
        if message.text == "wrap up":
            break


run_bot(main, room_url="https://example.daily.co/room")
