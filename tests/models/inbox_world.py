"""Bots and their mains over one store, and what may happen to them; `test_inbox_model` makes it happen."""

import json
import os
from collections import Counter

import anyio

from botvisor.errors import BotIdTaken
from botvisor.restart import Policy
from botvisor.store import ListMessages, PushMessage, Queue, ReadReceipt

from ..bot_rig import ROOM, bot_on, until

OFTEN = Policy(restart="transient", intensity=100, period=60, base=0.05, cap=0.1, probe_after=1)
BOTS = ("a", "b")
QUEUES = (
    Queue("room", ROOM),
    Queue("bot", "a"),
    Queue("bot", "b"),
    Queue("bot", str(os.getpid())),
    Queue("pre-spawn", ROOM),
)
TAKES_S = {"at once": 0, "soon": 0.05, "late": 1, "too late": 40}


class MainCrashedError(Exception):
    pass


class Life:
    """One process of a bot, from its start to its stop or its death."""

    def __init__(self, store):
        self.store = store
        self.rig = None
        self.dead = False  # what it does from now on happened to nobody
        self.doomed = False  # its main is to crash over its next message
        self.pace = "at once"
        self.over = anyio.Event()


class InboxWorld:
    """Two bots that serve one room.

    Args:
        stores: makes the store of each process, over one and the same place.
    """

    def __init__(self, stores):
        self.stores = stores
        self.sender = stores.of_a_process()
        self.lives = {}
        self.pushed = {queue: [] for queue in QUEUES}
        self.shown = []  # (message, life), in the order it happened
        self.finished = set()
        self.count = 0
        self.ending = anyio.Event()

    async def live_on(self, started):
        async with anyio.create_task_group() as self.group:
            for bot_id in BOTS:
                self.begin(bot_id)
            started.set()
            await self.ending.wait()
            for life in self.lives.values():
                life.over.set()

    def begin(self, bot_id):
        self.lives[bot_id] = life = Life(self.stores.of_a_process())
        self.group.start_soon(self.live, bot_id, life)

    async def live(self, bot_id, life):
        while True:
            try:
                async with bot_on(
                    life.store,
                    lambda bot: self.main(bot, life),
                    bot_id=bot_id,
                    room_url=ROOM,
                    policy=OFTEN,
                    grace=1,
                ) as life.rig:
                    await life.over.wait()
                self.stores.die(life.store)  # with its process, whatever it could not give up
                return
            except BotIdTaken:
                await anyio.sleep(3)  # the lease of the one that was killed has yet to run out

    async def main(self, bot, life):
        if bot.id == "a":
            await self.read(bot, life)
            return
        async with anyio.create_task_group() as group:  # the reader may also be a task of main's own
            group.start_soon(self.read, bot, life)

    async def read(self, bot, life):
        async for message in bot.inbox:
            if life.dead:
                await anyio.sleep_forever()
            self.shown.append((message, life))
            await anyio.sleep(TAKES_S[life.pace])
            if life.doomed:
                life.doomed = False
                raise MainCrashedError
            if not life.dead:
                self.finished.add(message.id)

    # What can happen.

    async def send(self, queue, count):
        for _ in range(count):
            self.count += 1
            if await self.push(queue, self.count):
                self.pushed[queue].append(self.count)

    async def push(self, queue, number):
        raw = json.dumps({"id": f"m{number}", "message": "hello", "queue": str(queue), "number": number})
        with anyio.move_on_after(2):
            (answer,) = await self.sender.execute([PushMessage(queue, f"m{number}", raw.encode())])
            return isinstance(answer, str)
        return False

    def end(self, bot_id, *, dead):
        life = self.lives[bot_id]
        if life.rig is None:
            return
        life.dead = dead
        if dead:
            life.rig.link.cut()
            self.stores.die(life.store)
        else:
            life.rig.link.join()
        life.over.set()
        self.begin(bot_id)

    # What must be true.

    async def settle(self):
        """Let everything be well, until all that was sent is handled or given up."""
        self.stores.heal()
        for life in self.lives.values():
            life.doomed, life.pace = False, "at once"
            if life.rig is not None:
                life.rig.link.join()
        with anyio.fail_after(900):
            while not await self.all_is_settled():
                await anyio.sleep(1)
        self.ending.set()

    async def all_is_settled(self):
        for queue in QUEUES:
            if any(message.state != "dead" for message in await self.ask(ListMessages(queue))):
                return False
            for number in self.pushed[queue]:
                if await self.state(queue, number) not in ("handled", "dead"):
                    return False
        return True

    async def ask(self, command):
        (answer,) = await self.sender.execute([command])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def state(self, queue, number):
        return await self.ask(ReadReceipt(queue, f"m{number}"))

    async def check(self):
        unmarked = Counter((m.id, life) for m, life in self.shown if not m.redelivered)
        assert max(unmarked.values(), default=1) == 1, "a bot was shown an id twice, and it was not marked"
        for queue in QUEUES:
            letters = await self.ask(ListMessages(queue))
            shown = [m for m, _ in self.shown if m.data["queue"] == str(queue)]
            # What was given up is in no list of handled ids: sent again, it is new to a new process.
            given_up = {json.loads(letter.raw)["id"] for letter in letters}
            unmarked = [m.id for m in shown if not m.redelivered and m.id not in given_up]
            assert len(unmarked) == len(set(unmarked)), f"{queue}: shown twice, and not marked"
            assert all(m.tries <= 3 for m in shown), f"{queue}: more than three tries"
            firsts = list(dict.fromkeys(m.data["number"] for m in shown))
            assert firsts == [n for n in self.pushed[queue] if n in firsts], f"{queue}: out of order"
            for number in self.pushed[queue]:
                if await self.state(queue, number) == "handled":
                    assert f"m{number}" in self.finished, f"{queue}: m{number} was handled by nobody"
            for letter in letters:
                assert letter.tries == 3, f"{queue}: given up after {letter.tries} tries"

    async def rig_of(self, bot_id):
        life = self.lives[bot_id]
        with anyio.move_on_after(1):
            await until(lambda: life.rig is not None, within=1)
        return life.rig
