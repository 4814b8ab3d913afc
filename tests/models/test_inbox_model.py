"""The inbox of real bots: bots, mains, actors and stores fail in any order, and no message is lost.

None reaches `main` twice unmarked, and what was not handled in three tries is a dead letter.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from loguru import logger

from botvisor.testing import crash

from .budget import examples
from .inbox_stores import InMemory, OnFiles
from .inbox_world import BOTS, QUEUES, TAKES_S, InboxWorld
from .loop import LOOPS
from .supervisor_world import cancel_natively

QUEUE = st.sampled_from([QUEUES[0], *QUEUES])
BOT = st.sampled_from(BOTS)


class InboxMachine(RuleBasedStateMachine):
    new_stores = InMemory
    loop_name = "asyncio"

    def __init__(self):
        super().__init__()
        logger.disable("botvisor")  # a thousand lines for each example
        self.loop = LOOPS[self.loop_name]()
        self.loop.run(self.begin())
        self.loop.keep(self.world.live_on)

    async def begin(self):
        self.stores = self.new_stores()
        self.world = InboxWorld(self.stores)

    def rig(self, bot_id):
        return self.loop.run(self.world.rig_of(bot_id))

    @rule(queue=QUEUE, count=st.sampled_from([1, 1, 4]))
    def send(self, queue, count):
        self.loop.run(self.world.send(queue, count))

    @rule(queue=QUEUE, data=st.data())
    def send_again(self, queue, data):
        if self.world.pushed[queue]:
            number = data.draw(st.sampled_from(self.world.pushed[queue]))
            self.loop.run(self.world.push(queue, number))

    @rule(queue=QUEUE, other=QUEUE)
    def send_to_another_queue_as_well(self, queue, other):
        if self.world.pushed[queue]:
            number = self.world.pushed[queue][-1]
            if number not in self.world.pushed[other] and self.loop.run(self.world.push(other, number)):
                self.world.pushed[other].append(number)

    @rule(seconds=st.sampled_from([0.01, 0.3, 2, 6, 35]))
    def time_passes(self, seconds):
        self.loop.sleep(seconds)

    @rule(bot_id=BOT, pace=st.sampled_from(list(TAKES_S)))
    def main_takes_its_time(self, bot_id, pace):
        self.world.lives[bot_id].pace = pace

    @rule(bot_id=BOT)
    def main_will_crash(self, bot_id):
        self.world.lives[bot_id].doomed = True

    @rule(bot_id=BOT, how=st.sampled_from(["crash", "restart", "cancel", "restart the backend"]))
    def the_inbox_fails(self, bot_id, how):
        rig = self.rig(bot_id)
        if rig is None:
            return
        match how:
            case "crash" if not self.world.lives[bot_id].over.is_set():
                self.loop.run(self.do(crash, rig.bot, "inbox"))
            case "restart":
                self.loop.run(self.do(rig.restart, "inbox"))
            case "cancel" if self.loop_name != "trio":
                self.loop.run(self.do(cancel_natively, f"{bot_id}/inbox"))
            case "restart the backend":
                self.loop.run(self.do(rig.supervisor.core.restart, "backend"))

    @rule(how=st.sampled_from(["fail", "hang", "slow", "heal", "heal"]))
    def the_store_changes(self, how):
        match how:
            case "fail":
                self.stores.fail()
            case "hang":
                self.stores.hang()
            case "slow":
                self.stores.slow(0.5)
            case "heal":
                self.loop.run(self.do(self.stores.heal))

    @rule(bot_id=BOT, back=st.booleans())
    def a_bot_loses_the_store_or_has_it_back(self, bot_id, back):
        life = self.world.lives[bot_id]
        if life.rig is not None:
            self.loop.run(self.do(life.rig.link.join if back else life.rig.link.cut))

    @rule(bot_id=BOT, dead=st.booleans())
    def a_bot_dies_or_stops_and_another_comes(self, bot_id, dead):
        self.loop.run(self.do(lambda: self.world.end(bot_id, dead=dead)))

    async def do(self, call, *arguments):
        call(*arguments)

    def teardown(self):
        try:
            self.loop.run(self.world.settle())
            self.loop.finish()
            self.loop.run(self.world.check())
        finally:
            self.loop.close()
            self.stores.close()
            logger.enable("botvisor")


class UvloopInboxMachine(InboxMachine):
    loop_name = "uvloop"


class TrioInboxMachine(InboxMachine):
    loop_name = "trio"


class FileInboxMachine(InboxMachine):
    new_stores = OnFiles


def test_in_memory_no_message_is_lost_and_none_comes_twice_unmarked():
    run_state_machine_as_test(InboxMachine, settings=examples(30, steps=40))


def test_on_uvloop_no_message_is_lost_and_none_comes_twice_unmarked():
    run_state_machine_as_test(UvloopInboxMachine, settings=examples(8, steps=40))


def test_on_trio_no_message_is_lost_and_none_comes_twice_unmarked():
    run_state_machine_as_test(TrioInboxMachine, settings=examples(8, steps=40))


def test_on_files_no_message_is_lost_and_none_comes_twice_unmarked():
    run_state_machine_as_test(FileInboxMachine, settings=examples(15, steps=40))
