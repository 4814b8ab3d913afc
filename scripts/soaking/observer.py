"""The observer of a run: it looks at the fleet again and again, as `botvisor ps` does."""

from __future__ import annotations

import signal
import time

import anyio

from botvisor import Client, open_client
from botvisor.errors import StoreError
from botvisor.liveness import age_s, status

from .ledger import Ledger
from .place import named
from .records import Beat, Seen

NAME = "observer"
EVERY_S = 0.5
STALE_S = 30.0  # as every bot's settings have it


async def look(client: Client) -> Seen:
    """Look at the fleet once."""
    began, away = time.monotonic(), client.away()
    try:
        beats = await client.heartbeats()
    except StoreError as error:
        return Seen(began=began, at=time.monotonic(), problem=str(error))
    bots = {
        beat.bot_id: Beat(pid=beat.pid, status=status(beat, STALE_S), age=round(age_s(beat), 1))
        for beat in beats
    }
    return Seen(began=began, at=time.monotonic(), bots=bots, away=away or client.away() or "")


async def observe(ledger: Ledger) -> None:
    """Look for ever."""
    async with open_client() as client:
        while True:
            ledger.write(await look(client))
            await anyio.sleep(EVERY_S)


async def run(ledger: Ledger) -> None:
    """Look until SIGTERM."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with anyio.create_task_group() as group:
            group.start_soon(observe, ledger)
            async for _ in signals:
                break
            group.cancel_scope.cancel()


def main() -> None:
    """Run it."""
    place, _, name = named()
    anyio.run(run, Ledger(place.ledger(name), synced=False))


if __name__ == "__main__":
    main()
