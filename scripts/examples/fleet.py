"""Many bots in one process, one for each room: python fleet.py ROOM_URL...

They share one supervisor, one backend and its connections; each has a heartbeat, an inbox and an end of its
own.
"""

import signal
import sys

import anyio

from botvisor import Bot, BotSupervisor, open_supervisor


async def serve_room(bot: Bot) -> str:
    heard = 0
    async for message in bot.inbox:
        heard += 1
        print(f"{bot.room_url} hears: {message.text}", flush=True)
        if message.text == "wrap up":
            break
    return f"{bot.room_url} heard {heard} messages"


async def stop_at_a_signal(supervisor: BotSupervisor) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            await supervisor.shutdown(number.name)  # every bot within its grace, all at once
            return


async def main(rooms: list[str]) -> None:
    async with open_supervisor() as supervisor, anyio.create_task_group() as group:
        handles = [await supervisor.start_bot(serve_room, room_url=room) for room in rooms]
        group.start_soon(stop_at_a_signal, supervisor)
        for handle in handles:
            print(await handle.wait(), flush=True)
        group.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1:])
