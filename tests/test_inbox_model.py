"""A random model of the inbox: bots, mains, actors and stores fail at random; no message may be lost.

Each seed is printed; `BOTVISOR_TEST_SEEDS=200` tries the seeds 0 to 199 on each event loop.
"""

import json
import os
import random
from collections import Counter

import anyio
import pytest
import sniffio

from botvisor.errors import BotIdTaken, StoreUnavailable
from botvisor.restart import Policy
from botvisor.store import PushMessage, Queue
from botvisor.testing import MemoryStore, crash

from .bot_rig import ROOM, bot_on, until

pytestmark = pytest.mark.virtual_time

STEPS = 60
SEEDS = range(int(os.environ.get("BOTVISOR_TEST_SEEDS", "4")))
OFTEN = Policy(restart="transient", intensity=100, period=60, base=0.05, cap=0.1, probe_after=1)
BOTS = ("a", "b")
THE_ROOM = Queue("room", ROOM)
QUEUES = (
    Queue("bot", "a"),
    Queue("bot", "b"),
    Queue("bot", str(os.getpid())),
    THE_ROOM,
    Queue("pre-spawn", ROOM),
)


class MainCrashedError(Exception):
    pass


class Life:
    """One process of a bot, from its start to its stop or its death."""

    def __init__(self):
        self.rig = None
        self.dead = False  # what it does from now on happened to nobody
        self.doomed = False  # its main is to crash soon
        self.over = anyio.Event()


class World:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.store = MemoryStore()
        self.lives = {}
        self.pushed = {queue: [] for queue in QUEUES}
        self.shown = []  # (message, life), in the order it happened
        self.finished = set()
        self.calm = False
        self.count = 0
        self.happened = Counter()

    async def run(self):
        async with anyio.create_task_group() as self.group:
            for bot_id in BOTS:
                self.begin(bot_id)
            for _ in range(STEPS):
                await self.step()
            self.calm = True
            self.store.heal()
            await until(self.all_settled, within=900)
            for bot_id in BOTS:
                self.lives[bot_id].over.set()
        self.check()

    async def step(self):
        action = self.random.choice(ACTIONS)
        self.happened[action.__name__] += 1
        await action(self)
        await anyio.sleep(self.random.choice((0, 0.01, 0.3, 2)))

    def begin(self, bot_id):
        self.lives[bot_id] = life = Life()
        self.group.start_soon(self.live, bot_id, life)

    async def live(self, bot_id, life):
        while True:
            try:
                async with bot_on(
                    self.store,
                    lambda bot: self.main(bot, life),
                    bot_id=bot_id,
                    room_url=ROOM,
                    policy=OFTEN,
                    grace=1,
                ) as life.rig:
                    await life.over.wait()
                    return
            except BotIdTaken:
                await anyio.sleep(3)  # the lease of the one that was killed has yet to run out

    async def main(self, bot, life):
        if self.random.random() < 0.2:
            async with anyio.create_task_group() as group:
                group.start_soon(self.read, bot, life)
        else:
            await self.read(bot, life)

    async def read(self, bot, life):
        async for message in bot.inbox:
            if life.dead:
                await anyio.sleep_forever()
            self.shown.append((message, life))
            await anyio.sleep(self.random.choice((0, 0, 0.05, 1)))
            if not self.calm and self.random.random() < 0.08:
                await anyio.sleep(40)
            if life.doomed or (not self.calm and self.random.random() < 0.1):
                life.doomed = False
                raise MainCrashedError
            if not life.dead:
                self.finished.add(message.id)

    # What can happen.

    async def send(self):
        queue = self.random.choice((*QUEUES, THE_ROOM, THE_ROOM))
        for _ in range(self.random.choice((1, 1, 5))):
            self.count += 1
            if await self.push(queue, self.count):
                self.pushed[queue].append(self.count)

    async def resend(self):
        queue = self.random.choice(QUEUES)
        if self.pushed[queue]:
            await self.push(queue, self.random.choice(self.pushed[queue]))

    async def send_twin(self):
        queue, other = self.random.sample(QUEUES, 2)
        if self.pushed[queue]:
            number = self.random.choice(self.pushed[queue])
            if number not in self.pushed[other] and await self.push(other, number):
                self.pushed[other].append(number)

    async def push(self, queue, number):
        raw = json.dumps({"id": f"m{number}", "message": "hello", "queue": str(queue), "number": number})
        with anyio.move_on_after(2):
            return await self.store.execute([PushMessage(queue, f"m{number}", raw.encode())]) == ["memory"]
        return False

    def a_rig(self):
        rigs = [life.rig for life in self.lives.values() if life.rig is not None]
        return self.random.choice(rigs) if rigs else None

    async def doom_main(self):
        self.lives[self.random.choice(BOTS)].doomed = True

    async def crash_inbox(self):
        if rig := self.a_rig():
            crash(rig.bot, "inbox")

    async def restart_inbox(self):
        if rig := self.a_rig():
            rig.restart("inbox")

    async def cancel_inbox(self):
        if (rig := self.a_rig()) and sniffio.current_async_library() == "asyncio":
            rig.cancel_natively("inbox")

    async def cancel_backend(self):
        if rig := self.a_rig():
            rig.supervisor.core.restart("backend")

    async def fail(self):
        self.store.fail_with(StoreUnavailable("the model says so"))

    async def hang(self):
        self.store.hang()

    async def slow(self):
        self.store.slow(self.random.choice((0.1, 1)))

    async def heal(self):
        self.store.heal()

    async def sleep_long(self):
        await anyio.sleep(self.random.choice((6, 35)))

    async def partition(self):
        life = self.lives[self.random.choice(BOTS)]
        if life.rig is not None and not life.rig.link.is_cut:
            life.rig.link.cut()
            self.group.start_soon(self.mend, life, self.random.choice((1, 35, 50)))

    async def mend(self, life, delay):
        await anyio.sleep(delay)
        if not life.dead:
            life.rig.link.join()

    async def kill(self):
        await self.end(dead=True)

    async def stop(self):
        await self.end(dead=False)

    async def end(self, *, dead):
        bot_id = self.random.choice(BOTS)
        life = self.lives[bot_id]
        if life.rig is None:
            return
        life.dead = dead
        if dead:
            life.rig.link.cut()
        else:
            life.rig.link.join()
        life.over.set()
        self.begin(bot_id)

    # What must be true.

    def all_settled(self):
        settled = all(
            self.state(q, number) in ("handled", "dead") for q in QUEUES for number in self.pushed[q]
        )
        return settled and all(m.state == "dead" for q in QUEUES for m in self.store.queue(q).messages())

    def state(self, queue, number):
        return self.store.queue(queue).receipt(f"m{number}")

    def check(self):
        unmarked = Counter((m.id, life) for m, life in self.shown if not m.redelivered)
        assert max(unmarked.values(), default=1) == 1, "a bot was shown an id twice, and it was not marked"
        for queue in QUEUES:
            shown = [m for m, _ in self.shown if m.data["queue"] == str(queue)]
            # What was given up is in no list of handled ids: sent again, it is new to a new process.
            given_up = {json.loads(m.raw)["id"] for m in self.store.queue(queue).messages()}
            unmarked = [m.id for m in shown if not m.redelivered and m.id not in given_up]
            assert len(unmarked) == len(set(unmarked)), f"{queue}: shown twice, and not marked"
            assert all(m.tries <= 3 for m in shown), f"{queue}: more than three tries"
            firsts = list(dict.fromkeys(m.data["number"] for m in shown))
            assert firsts == [n for n in self.pushed[queue] if n in firsts], f"{queue}: out of order"
            for number in self.pushed[queue]:
                if self.state(queue, number) == "handled":
                    assert f"m{number}" in self.finished, f"{queue}: m{number} was handled by nobody"
            for letter in self.store.queue(queue).messages():
                assert letter.tries == 3, f"{queue}: given up after {letter.tries} tries"


ACTIONS = (
    *[World.send] * 12,
    *[World.heal] * 6,
    *[World.resend] * 2,
    *[World.doom_main] * 2,
    World.crash_inbox,
    World.restart_inbox,
    World.cancel_inbox,
    World.cancel_backend,
    World.fail,
    World.hang,
    World.slow,
    *[World.sleep_long] * 2,
    *[World.send_twin] * 2,
    *[World.partition] * 4,
    World.kill,
    World.stop,
)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost_and_nothing_comes_twice_unmarked(seed, anyio_backend_name):
    print("seed", seed)
    world = World(f"{seed} {anyio_backend_name}")
    await world.run()
    print(world.count, "messages, shown", len(world.shown), "times;", dict(world.happened))
