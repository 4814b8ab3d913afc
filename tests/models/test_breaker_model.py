"""The breaker, against what it is to do: batches begin and end in any order, late ones included."""

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botvisor.actors.backend.breaker import Breaker, Failure, failed, recovered, succeeded

from .breaker_model import BreakerModel
from .budget import examples


class BreakerMachine(RuleBasedStateMachine):
    batches = Bundle("batches")

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.breaker = Breaker()
        self.model = BreakerModel()

    @rule(target=batches)
    def begin(self):
        return self.breaker.generation, self.model.changes

    @rule(seconds=st.sampled_from([0.1, 1, 29.9, 30, 31]) | st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.model.state == "open")
    @rule()
    def wait_for_the_probe(self):
        self.now = max(self.now, self.breaker.probe_at)

    @rule(batch=consumes(batches))
    def succeed(self, batch):
        generation, changes = batch
        self.breaker = succeeded(self.breaker, generation=generation, now=self.now)
        if changes == self.model.changes:
            self.model.succeeds(self.now)

    @rule(batch=consumes(batches), failure=st.sampled_from([*Failure, None]), draw=st.floats(0, 1))
    def fail(self, batch, failure, draw):
        generation, changes = batch
        self.breaker = failed(self.breaker, failure, generation=generation, now=self.now, draw=draw)
        if changes == self.model.changes:
            self.model.fails(failure, self.now)

    @rule(batch=consumes(batches))
    def recover(self, batch):
        generation, changes = batch
        self.breaker = recovered(self.breaker, generation=generation, now=self.now)
        if changes == self.model.changes:
            self.model.recovers(self.now)

    @invariant()
    def it_does_what_the_model_does(self):
        self.model.check(self.breaker)

    @invariant()
    def no_wait_is_over_fifteen_seconds(self):
        if self.breaker.state == "open":
            assert self.breaker.probe_at <= self.now + 15 + 1e-6


def test_in_whatever_order_batches_end_the_breaker_opens_probes_and_closes_as_it_should():
    run_state_machine_as_test(BreakerMachine, settings=examples(120))
