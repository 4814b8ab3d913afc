"""A supervisor whose children crash, hang, are stopped, restarted and cancelled in any order.

Each failure is that child's alone, no window holds more restarts than the intensity, who used them up is
parked and probed, `main` goes on, and each ask and each message has one end.
"""

import anyio
import anyio.lowlevel
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botvisor.restart import Policy

from .budget import examples
from .loop import LOOPS
from .supervisor_world import VERBS, BatchWorker, SupervisorWorld, Worker, cancel_natively

TIMEOUTS_S = st.sampled_from([0.001, 0.4, 5, 60])
PATIENCE_S = st.sampled_from([0, 0.3, 4, 100, 100, 100])
SECONDS = st.sampled_from([0, 0, 0.01, 0.5, 3, 20])
WORK = st.tuples(st.sampled_from(["work", "work", "work", *VERBS]), SECONDS)
PLANS = st.lists(st.sampled_from([0, 0, 0.3, -0.01, 6, 9, 40]), min_size=1, max_size=4)


@st.composite
def policies(draw):
    values = {
        "restart": draw(st.sampled_from(["permanent", "permanent", "transient", "temporary"])),
        "period": draw(st.sampled_from([2, 20, 90])),
        "base": draw(st.sampled_from([0.05, 1])),
        "cap": draw(st.sampled_from([0.05, 4, 30])),
        "jitter": draw(st.sampled_from([0, 0.5, 1])),
        "healthy_after": draw(st.sampled_from([0, 1, 30])),
        "on_exhausted": draw(st.sampled_from(["park", "park", "stop"])),
        "probe_after": draw(st.sampled_from([0.5, 15, 60])),
        "start_timeout": draw(st.sampled_from([1, 10])),
        "stop_timeout": draw(st.sampled_from([0.1, 5])),
    }
    try:
        return Policy(intensity=draw(st.sampled_from([0, 1, 2, 3, 5])), **values)
    except ValueError:  # it would never trip
        return Policy(intensity=1, **values)


class SupervisorMachine(RuleBasedStateMachine):
    loop_name = "asyncio"
    names = Bundle("names")

    def __init__(self):
        super().__init__()
        self.loop = LOOPS[self.loop_name]()

    @initialize(seed=st.integers(0, 3))
    def begin(self, seed):
        async def begin():
            self.tasks_before = len(anyio.get_running_tasks())
            self.world = SupervisorWorld(seed)

        self.loop.run(begin())
        self.loop.keep(self.world.live)

    def do(self, call, *arguments):
        async def step():
            call(*arguments)
            await anyio.lowlevel.checkpoint()

        self.loop.run(step())

    @precondition(lambda self: len(self.world.cells) < 4)
    @rule(
        target=names,
        kind=st.sampled_from([Worker, BatchWorker]),
        policy=policies(),
        plan=PLANS,
        capacity=st.sampled_from([2, 50]),
    )
    def add(self, kind, policy, plan, capacity):
        self.loop.run(self.world.add_worker(kind, policy, plan, capacity))
        return self.world.order[-1]

    @rule(seconds=st.sampled_from([0, 0.001, 0.1, 0.5, 2, 10, 50]))
    def time_passes(self, seconds):
        self.loop.sleep(seconds)

    @rule(name=names, work=WORK, timeout=TIMEOUTS_S, patience=PATIENCE_S)
    def ask(self, name, work, timeout, patience):
        message = self.world.book.compose(*work)
        self.do(self.world.begin_ask, self.world.cells[name], message, timeout, patience)

    @rule(name=names, works=st.lists(WORK, min_size=2, max_size=4), timeout=TIMEOUTS_S, patience=PATIENCE_S)
    def ask_several(self, name, works, timeout, patience):
        messages = [self.world.book.compose(*work) for work in works]
        self.do(self.world.begin_ask_several, self.world.cells[name], messages, timeout, patience)

    @rule(name=names)
    def crowd(self, name):
        self.do(self.world.crowd, self.world.cells[name])

    @rule(name=names, work=WORK)
    def tell(self, name, work):
        self.do(self.world.tell, self.world.cells[name], self.world.book.compose(*work))

    @rule(name=names)
    def crash(self, name):
        self.do(self.world.crash, self.world.cells[name])

    @rule(name=names)
    def restart(self, name):
        self.do(self.world.restart, name)

    @rule(name=names)
    def stop(self, name):
        self.do(self.world.stop, name)

    @precondition(lambda self: self.loop_name != "trio")
    @rule(name=names)
    def cancel(self, name):
        self.do(cancel_natively, name)

    @invariant()
    def what_must_always_hold_does(self):
        if hasattr(self, "world"):
            self.loop.check()
            self.do(self.world.check_so_far)

    def teardown(self):
        try:
            self.do(self.world.ending.set)
            self.loop.finish()
            self.world.check()
            assert self.loop.run(self.count_tasks()) == self.tasks_before
        finally:
            self.loop.close()

    async def count_tasks(self):
        return len(anyio.get_running_tasks())


class UvloopSupervisorMachine(SupervisorMachine):
    loop_name = "uvloop"


class TrioSupervisorMachine(SupervisorMachine):
    loop_name = "trio"


def test_whatever_happens_the_rules_hold():
    run_state_machine_as_test(SupervisorMachine, settings=examples(60, steps=50))


def test_on_uvloop_the_rules_hold():
    run_state_machine_as_test(UvloopSupervisorMachine, settings=examples(20, steps=50))


def test_on_trio_the_rules_hold():
    run_state_machine_as_test(TrioSupervisorMachine, settings=examples(20, steps=50))
