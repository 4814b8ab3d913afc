"""An actor's `handle` says what its Ref takes and answers; mypy tells what does not fit."""

from typing import assert_type

import msgspec

from botvisor import Actor, Bot, Context, Policy, Ref, Reject


class Add(msgspec.Struct, frozen=True):
    """Add an amount to the tally."""

    amount: int


class Read(msgspec.Struct, frozen=True):
    """Read the tally."""


class Tally(Actor):
    """Counts."""

    def __init__(self) -> None:
        self.total = 0

    async def start(self, ctx: Context) -> None:
        """Look at the surroundings."""
        assert_type(ctx.generation, int)

    async def handle(self, message: Add | Read) -> int:
        """Count."""
        if isinstance(message, Add):
            if message.amount < 0:
                raise Reject("a tally only grows")
            self.total += message.amount
        return self.total


class Untyped(Actor):
    """Takes anything."""


def tally_of(start: int) -> Tally:
    """Make one that has begun."""
    tally = Tally()
    tally.total = start
    return tally


async def only_adds(ref: Ref[Add, object]) -> None:
    """Use less than an actor offers."""
    ref.tell(Add(1))


async def main(bot: Bot) -> None:
    """Start actors and talk to them."""
    tally = await bot.start_actor("tally", Tally)
    assert_type(tally, Ref[Add | Read, int])
    tally.tell(Add(1))
    assert_type(await tally.ask(Read(), timeout=1), int)
    assert_type(await tally.ask_all([Add(1), Read()], timeout=1), list[int | Exception])
    begun = await bot.start_actor("begun", lambda: tally_of(3), policy=Policy(restart="transient"))
    assert_type(begun, Ref[Add | Read, int])
    await only_adds(tally)
    anything = await bot.start_actor("anything", Untyped)
    anything.tell("whatever")

    tally.tell("three")  # type: ignore[arg-type]  # it takes Add and Read
    await tally.ask(3, timeout=1)  # type: ignore[arg-type]
    await tally.ask(Read())  # type: ignore[call-arg]  # an ask has a deadline
    text: str = await tally.ask(Read(), timeout=1)  # type: ignore[assignment]  # it answers an int
    await bot.start_actor("tally", Tally())  # type: ignore[arg-type]  # the class, not an instance
    await bot.start_actor(Tally)  # type: ignore[call-arg, arg-type]  # operators need a name
    await bot.start_actor("text", str)  # type: ignore[arg-type]  # it is no actor
    print(text)
