"""Messages that are sent all the time while a test breaks something, and what must be true of them then."""

import itertools
from collections import Counter
from contextlib import asynccontextmanager

import anyio

from ..bot_rig import until
from ..redis_bots import ROOM

PAUSE_S = 0.01


@asynccontextmanager
async def traffic(*processes, to=("ada", ROOM), **how):
    """Let clients send for as long as the block lasts. Yields receipts of what was accepted, as they come."""
    receipts = []

    async def send(client, key):
        for number in itertools.count():
            receipts.append(await client.send(key, f"{number} to {key}", **how))
            await anyio.sleep(PAUSE_S)

    async with anyio.create_task_group() as group:
        for process in processes:
            for key in to:
                group.start_soon(send, process.client, key)
        yield receipts
        group.cancel_scope.cancel()


async def until_more(receipts, count=10):
    """Wait until so many more were accepted."""
    enough = len(receipts) + count
    await until(lambda: len(receipts) >= enough, 20)


async def until_all_arrived(receipts, reader, within=20.0):
    """Wait until `main` saw each message that was accepted, and see that no repeat came unmarked."""
    accepted = {receipt.id for receipt in receipts}
    lost = accepted
    try:
        with anyio.fail_after(within):
            while lost := accepted - {message.id for message in reader.seen}:
                await anyio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{len(lost)} of {len(accepted)} were lost: {sorted(lost)[:3]}") from None
    assert_repeats_are_marked(reader.seen)
    print(f"{len(accepted)} accepted, {len(reader.seen)} shown")


def assert_repeats_are_marked(seen):
    shown = Counter()
    for message in seen:
        assert message.redelivered or not shown[message.id], f"{message.id} was shown again, unmarked"
        shown[message.id] += 1
