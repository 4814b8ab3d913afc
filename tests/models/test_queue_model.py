"""A queue in every store against one model: owners come, crash and rival, and replies are lost at any step.

Nothing that was stored is lost, none is shown as if for the first time twice, and three tries are all.
"""

import asyncio
import shutil
import tempfile
from pathlib import Path

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botvisor.errors import LeaseLost
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    Done,
    ListMessages,
    NextMessage,
    PushMessage,
    ReadReceipt,
    ReleaseLease,
    ReturnMessage,
)

from .. import redis_world
from ..store_worlds import QUEUE, FileWorld, MemoryWorld, RedisWorld
from .budget import examples
from .queue_model import QueueModel

INSTANCES = st.sampled_from(["one", "two"])
# How often a command is carried out again because its reply was lost.
REPEATS = st.sampled_from([0, 0, 0, 1, 2])


class QueueMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.runner = asyncio.Runner()
        self.world = self.new_world()
        self.model = QueueModel()
        self.claim = None  # of what is in flight
        self.old_claims = []
        self.pushed = 0
        self.ids = []
        self.attempts = {"one": 0, "two": 0}

    def new_world(self):
        return MemoryWorld(self.folder)

    def ask(self, command, repeats=0):
        """Return the answer; a repeat has the same one."""
        (answer,) = self.runner.run(self.world.store.execute([command]))
        for _ in range(repeats):
            (again,) = self.runner.run(self.world.store.execute([command]))
            assert type(again) is type(answer)
            assert isinstance(answer, Exception) or again == answer
        return answer

    @initialize()
    def begin(self):
        self.acquire("one", 0)

    @rule(count=st.integers(1, 3))
    def push(self, count):
        for _ in range(count):
            self.pushed += 1
            self.ids.append(f"m{self.pushed}")
            self.push_with(self.ids[-1])

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def push_the_same_id_again(self, data):
        self.push_with(data.draw(st.sampled_from(self.ids)))

    @rule(text=st.sampled_from("ab"))
    def push_without_an_id(self, text):
        self.pushed += 1
        raw = msgspec.json.encode({"message": text})
        self.ask(PushMessage(QUEUE, f"n{self.pushed}", raw))
        self.model.push(raw, None)

    def push_with(self, message_id):
        raw = msgspec.json.encode({"id": message_id, "message": "hello"})
        self.ask(PushMessage(QUEUE, message_id, raw))
        self.model.push(raw, message_id)

    @rule(instance=INSTANCES, repeats=REPEATS)
    def acquire(self, instance, repeats):
        holder = self.ask(AcquireLease(QUEUE, own("bot-1", instance)), repeats)
        if self.model.holder in (None, instance):
            assert holder is None
            self.model.holder = instance
        else:
            assert holder.instance == self.model.holder

    @rule(instance=INSTANCES, repeats=REPEATS)
    def release(self, instance, repeats):
        assert self.ask(ReleaseLease(QUEUE, instance), repeats) is None
        if self.model.holder == instance:
            self.model.holder = None

    @rule()
    def the_processes_die(self):
        self.world.die()
        self.model.holder = None
        for instance in self.attempts:
            self.attempts[instance] += 1

    @rule(instance=INSTANCES)
    def the_reader_crashes(self, instance):
        self.attempts[instance] += 1

    @rule(instance=INSTANCES, is_done=st.booleans(), take=st.sampled_from([True, True, True, False]))
    def ask_for_the_next(self, instance, is_done, take):
        self.go_on(instance, self.claim if is_done else None, take)

    @precondition(lambda self: self.old_claims)
    @rule(instance=INSTANCES, data=st.data())
    def tell_late_that_it_was_handled(self, instance, data):
        """The entry is gone: nothing but its id, which was known, is recorded."""
        self.go_on(instance, data.draw(st.sampled_from(self.old_claims)), take=False)

    @rule(repeats=REPEATS)
    def work(self, repeats):
        """What a bot does all day."""
        if self.model.holder is not None:
            self.go_on(self.model.holder, None, take=True, repeats=repeats)
            self.go_on(self.model.holder, self.claim, take=True, repeats=repeats)

    def go_on(self, instance, claim, take, repeats=0):
        done = Done(claim.token, id_of(claim)) if claim is not None else None
        attempt = f"{instance}-{self.attempts[instance]}"
        answer = self.ask(NextMessage(QUEUE, instance, attempt, done, take), repeats)
        if instance != self.model.holder:
            assert isinstance(answer, LeaseLost)
            return
        if claim is not None and claim is self.claim:
            self.model.acknowledge()
            self.old_claims.append(claim)
            self.claim = None
        dead = len(self.model.dead)
        entry = self.model.next(attempt) if take else None
        if len(self.model.dead) > dead:
            self.claim = None
        if entry is None:
            assert answer is None
            return
        assert answer.raw == entry.raw
        assert answer.tries == entry.tries <= 3
        assert answer.done == (entry.message_id in self.model.done_ids)
        self.claim = answer

    @precondition(lambda self: self.claim is not None)
    @rule(instance=INSTANCES, repeats=REPEATS)
    def put_back(self, instance, repeats):
        answer = self.ask(ReturnMessage(QUEUE, instance, self.claim.token), repeats)
        if instance != self.model.holder:
            assert isinstance(answer, LeaseLost)
        elif self.model.in_flight.attempt is not None:
            self.model.put_back()
            if self.model.in_flight is None:
                self.claim = None

    @precondition(lambda self: self.claim is not None)
    @rule(instance=INSTANCES, repeats=REPEATS)
    def bury(self, instance, repeats):
        answer = self.ask(BuryMessage(QUEUE, instance, self.claim.token, "a test"), repeats)
        if instance != self.model.holder:
            assert isinstance(answer, LeaseLost)
        else:
            self.model.bury()
            self.claim = None

    @precondition(lambda self: self.old_claims)
    @rule(data=st.data(), command=st.sampled_from([ReturnMessage, BuryMessage]))
    def an_old_token_does_nothing(self, data, command):
        token = data.draw(st.sampled_from(self.old_claims)).token
        arguments = (QUEUE, self.model.holder or "one", token)
        self.ask(command(*arguments) if command is ReturnMessage else command(*arguments, "late"))

    @rule()
    def look(self):
        listed = self.ask(ListMessages(QUEUE))
        found = sorted((each.raw, each.state, each.tries) for each in listed)
        assert found == self.model.listed()
        for message_id in self.ids[-4:]:
            assert self.ask(ReadReceipt(QUEUE, message_id)) in self.model.receipt(message_id)
        self.check_store()

    def check_store(self):
        pass

    def teardown(self):
        try:
            self.handle_all_that_is_left()
        finally:
            self.runner.run(self.world.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    def handle_all_that_is_left(self):
        self.the_processes_die()
        self.acquire("one", 0)
        for _ in range(len(self.model.waiting) + 2):
            self.go_on("one", self.claim, take=True)
        assert self.model.waiting == []
        assert self.model.in_flight is None
        self.look()


def id_of(claim):
    return msgspec.json.decode(claim.raw).get("id", claim.name)


class FileQueueMachine(QueueMachine):
    def new_world(self):
        return FileWorld(self.folder)


class RedisQueueMachine(QueueMachine):
    version = redis_world.VERSIONS[-1]

    def new_world(self):
        return RedisWorld(self.runner.run(redis_world.server(self.version)))

    def check_store(self):
        assert self.world.without_lifetime() == []


def test_in_memory_nothing_is_lost_and_nothing_is_repeated_unmarked():
    run_state_machine_as_test(QueueMachine, settings=examples(80))


def test_on_files_nothing_is_lost_and_nothing_is_repeated_unmarked():
    run_state_machine_as_test(FileQueueMachine, settings=examples(15))


def test_on_redis_nothing_is_lost_and_nothing_is_repeated_unmarked():
    run_state_machine_as_test(RedisQueueMachine, settings=examples(15))
