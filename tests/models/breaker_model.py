"""What a circuit breaker does, told in the plainest way: by its whole past."""

from botvisor.actors.backend.breaker import Failure

AT_ONCE = (Failure.SILENT, Failure.TRIPPED, Failure.DENIED)


class BreakerModel:
    """The state, and what has happened, in order."""

    def __init__(self, now=0.0):
        self.state = "closed"
        self.path = ["closed"]  # the states, in order
        self.changes = 0  # of state, and failed probes: a batch that began before the last one is not counted
        self.since = now
        self.refusals_in_a_row = 0
        self.waits_used = 0  # of 1, 2, 4, 8, 15, 15, … seconds
        self.passed_at = None  # when a probe last passed
        self.wait = None  # of the next probe: when it began, and how long it is at most

    def succeeds(self, now):
        if self.state == "open":
            self._becomes("recovering", now)
            self.passed_at, self.wait = now, None
        self.refusals_in_a_row = 0

    def recovers(self, now):
        if self.state == "recovering":
            self._becomes("closed", now)

    def fails(self, failure, now):
        if self.state != "open":
            if failure is None:
                return
            if failure is Failure.REFUSED:
                self.refusals_in_a_row += 1
            if not (failure in AT_ONCE or self.refusals_in_a_row == 2):
                return
            if self.passed_at is None or now - self.passed_at >= 30:
                self.waits_used = 0  # Redis was well for long enough
        self._waits(failure, now)

    def _waits(self, failure, now):
        if failure is Failure.DENIED:
            self.wait = (now, 15)
        else:
            self.wait = (now, min(15, 2**self.waits_used))
            self.waits_used += 1
        if self.state == "open":
            self.changes += 1  # a probe failed
        else:
            self._becomes("open", now)
        self.refusals_in_a_row = 0

    def _becomes(self, state, now):
        self.state = state
        self.path.append(state)
        self.since = now
        self.changes += 1

    def check(self, breaker):
        assert breaker.state == self.state
        assert breaker.generation == self.changes
        assert breaker.since == self.since
        if self.wait is None:
            assert self.state != "open"
            assert not breaker.probe_is_due(float("inf"))
        else:
            began, longest = self.wait
            assert began + 0.8 * longest - 1e-6 <= breaker.probe_at <= began + longest + 1e-6
            assert not breaker.probe_is_due(began + 0.8 * longest - 1e-3)
            assert breaker.probe_is_due(began + longest + 1e-3)
