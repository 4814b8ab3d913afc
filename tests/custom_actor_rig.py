"""Actors that an author could have written, for tests."""

from functools import partial

import msgspec

from botvisor import Actor, Reject


class Add(msgspec.Struct, frozen=True):
    amount: int


class Tally(Actor):
    """Adds up. It fails on nothing, and refuses less."""

    def __init__(self, kept):
        self.kept = kept

    async def handle(self, message):
        if message.amount < 0:
            raise Reject("it only grows")
        if message.amount == 0:
            raise ZeroDivisionError
        self.kept["total"] = self.kept.get("total", 0) + message.amount
        return self.kept["total"]


def tally(kept=None):
    """What makes a fresh one for each start, all with the same total."""
    return partial(Tally, {} if kept is None else kept)


async def idle(bot):
    await bot.wait_stopping()
