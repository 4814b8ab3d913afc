"""The `next` script against a model: bots that are killed, taken over and left without replies, at random.

Nothing that was sent is lost, and nothing is shown twice without being marked.
"""

import random
from collections import Counter

import msgspec
import pytest

from botvisor.errors import LeaseLost
from botvisor.process import own
from botvisor.store import AcquireLease, BuryMessage, Done, ListMessages, NextMessage, ReturnMessage

from . import redis_world
from .redis_world import QUEUE, Q

redis = redis_world.redis
anyio_backend = redis_world.one_loop

STEPS = 1_500
LOST_REPLIES = 0.15
SEEDS = 3


class Bot:
    """What one incarnation of a bot knows; all of it is gone when it is killed."""

    def __init__(self, number):
        self.instance = f"bot-{number}"
        self.owner = own("4711", self.instance)
        self.leased = False
        self.attempt = 0
        self.claim = None
        self.shown = False
        self.done = None


class World:
    """The bots, the sender, and what `main` saw."""

    def __init__(self, redis, seed):
        self.redis = redis
        self.random = random.Random(seed)
        self.sent = Counter()
        self.unmarked = Counter()  # how often each was shown as if for the first time
        self.most_tries = 0
        self.handled = Counter()
        self.bots = 0
        self.dead = []
        self.bot = self.new_bot()

    def new_bot(self):
        self.bots += 1
        return Bot(self.bots)

    async def ask(self, command):
        """Carry a command out; where its reply is lost, ask again, as whoever retries does."""
        answer = (await self.redis.run(command))[0]
        while self.random.random() < LOST_REPLIES:
            answer = (await self.redis.run(command))[0]
        return answer

    def send(self):
        """Send some messages as older programs do; texts without an id come up again and again."""
        for _ in range(self.random.randint(1, 3)):
            if self.random.random() < 0.3:
                fields = {"message": self.random.choice("abc")}
            else:
                fields = {"id": f"m{sum(self.sent.values())}", "message": "x"}
            raw = msgspec.json.encode(fields)
            self.sent[raw] += 1
            self.redis.client.rpush(Q, raw)
            self.redis.client.expire(Q, 3600)

    async def take(self):
        """Acknowledge, claim and show, as the inbox does."""
        bot = self.bot
        if bot.claim is not None and bot.shown and bot.done is None:
            return
        if not bot.leased:
            bot.leased = await self.ask(AcquireLease(QUEUE, bot.owner)) is None
            if not bot.leased:
                self.redis.die()
            return
        answer = await self.ask(NextMessage(QUEUE, bot.instance, f"{bot.instance}-{bot.attempt}", bot.done))
        bot.done, bot.claim, bot.shown = None, answer, False

    def show(self):
        bot = self.bot
        if bot.claim is None or bot.shown:
            return
        bot.shown = True
        self.unmarked[bot.claim.raw] += bot.claim.tries == 1
        self.most_tries = max(self.most_tries, bot.claim.tries)

    def handle(self):
        bot = self.bot
        if bot.shown and bot.done is None:
            self.handled[bot.claim.raw] += 1
            message_id = msgspec.json.decode(bot.claim.raw).get("id", bot.claim.name)
            bot.done = Done(bot.claim.token, message_id)

    async def give_back(self):
        bot = self.bot
        if bot.claim is not None and not bot.shown:
            await self.ask(ReturnMessage(QUEUE, bot.instance, bot.claim.token))
            bot.claim = None

    def crash_reader(self):
        """`main` dies with a message in hand; the bot lives on."""
        bot = self.bot
        if bot.shown and bot.done is None:
            bot.attempt += 1
            bot.claim, bot.shown = None, False

    async def kill(self):
        """Kill the bot, now and then with a command on its way whose reply nobody reads."""
        bot = self.bot
        if self.random.random() < 0.5:
            attempt = f"{bot.instance}-{bot.attempt}"
            await self.redis.run(NextMessage(QUEUE, bot.instance, attempt, bot.done))
        self.dead.append(bot)
        self.bot = self.new_bot()

    async def haunt(self):
        """Carry out what a dead bot had sent, late; it must not come between."""
        if self.dead and self.bot.leased:
            bot = self.random.choice(self.dead)
            token = bot.claim.token if bot.claim is not None else "none"
            for command in (
                NextMessage(QUEUE, bot.instance, f"{bot.instance}-{bot.attempt}", Done(token, "late")),
                ReturnMessage(QUEUE, bot.instance, token),
                BuryMessage(QUEUE, bot.instance, token, "late"),
            ):
                assert isinstance(await self.ask(command), LeaseLost)

    async def step(self):
        steps = {self.send: 10, self.take: 40, self.show: 40, self.handle: 40}
        steps |= {self.give_back: 4, self.crash_reader: 4, self.kill: 5, self.haunt: 3}
        (step,) = self.random.choices(list(steps), list(steps.values()))
        result = step()
        if result is not None:
            await result

    async def drain(self):
        """Handle all that is left, undisturbed."""
        for _ in range(20 * STEPS):
            await self.take()
            self.show()
            self.handle()
            if self.bot.claim is None and not self.redis.client.exists(Q, f"admin:proc:{{{Q}}}"):
                return
        raise AssertionError("the queue does not end")


@pytest.mark.parametrize("number", range(SEEDS))
async def test_nothing_is_lost_and_nothing_is_repeated_unmarked(redis, number):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    world = World(redis, seed)
    for _ in range(STEPS):
        await world.step()
    await world.drain()
    letters = await redis.ask(ListMessages(QUEUE))
    given_up = Counter(letter.raw for letter in letters)
    assert {letter.state for letter in letters} <= {"dead"}
    assert sum(world.sent.values()) > 100
    assert world.bots > 10
    for raw, count in world.sent.items():
        assert world.handled[raw] + given_up[raw] >= count, f"lost {raw}"
        assert world.unmarked[raw] <= count, f"repeated {raw}"
    assert world.most_tries == 3
    assert redis.without_lifetime() == []


async def test_a_message_is_shown_three_times_at_most_however_its_readers_die(redis):
    await redis.push(b'{"id":"m","message":"deadly"}')
    shown = []
    for number in range(5):
        redis.die()
        owner = own("4711", f"i{number}")
        await redis.lease(owner)
        claim = await redis.take(instance=owner.instance, attempt=owner.instance)
        shown.append(claim and claim.tries)
    assert shown == [1, 2, 3, None, None]
    (letter,) = await redis.ask(ListMessages(QUEUE))
    assert (letter.state, letter.tries, letter.reason) == ("dead", 3, "not handled in 3 tries")


async def test_burying_twice_buries_once(redis):
    await redis.push(b'{"id":"m","message":"x"}')
    await redis.lease()
    bury = BuryMessage(QUEUE, "one", (await redis.take()).token, "no")
    for _ in range(2):
        await redis.ask(bury)
    assert len(await redis.ask(ListMessages(QUEUE))) == 1
