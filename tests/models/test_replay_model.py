"""Identities across outages: what was accepted is told when Redis is back, and the latest version wins.

The files are real ones. Redis is one in memory, and a real one for a smaller number of examples.
"""

import shutil
import tempfile
import time
from pathlib import Path

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from botvisor.actors.backend.files import FileStore
from botvisor.actors.backend.merging import merge, settles
from botvisor.actors.backend.redis_errors import LinkLost, RedisUnavailable, diagnose
from botvisor.actors.backend.replay import Replay
from botvisor.config import Settings
from botvisor.errors import StoreError
from botvisor.identity import Identity
from botvisor.logs import Log
from botvisor.store import CleanUpIdentities, ListIdentities, ReadIdentity, WriteIdentity
from botvisor.wire import identity_path

from .budget import examples
from .identity_worlds import MemoryRedis, RealRedis

ROOMS = ["https://example.test/a", "https://example.test/b"]
FOLDERS = ("admin_message_dir", "heartbeat_dir", "identity_dir")
DAY_MS = 86_400_000
AWAY = RedisUnavailable(diagnose(LinkLost("redis", "Connection refused")))
# Stamps that were given already are given again, and some come too late to be of use.
AGES_MS = st.sampled_from([0, 1, 2, 3, 3_600_000, DAY_MS + 60_000])
PEOPLE = st.sampled_from([(ROOMS[0], "ann"), (ROOMS[0], "bob"), (ROOMS[1], "ann")])


def who_of(command):
    return command.identity.room_url, command.identity.participant_id


def version(identity):
    return identity.updated_ms, identity.writer


class ReplayMachine(RuleBasedStateMachine):
    new_redis = MemoryRedis

    def __init__(self):
        super().__init__()
        self.redis = self.new_redis()
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.files = FileStore(Settings(**{name: self.folder / name for name in FOLDERS}), beside_redis=True)
        self.replay = Replay(Log("redis"))
        self.away = False
        self.now_ms = int(time.time() * 1000)
        # The latest of each participant that was accepted: by Redis, by the files, and for Redis to be told.
        self.on_redis, self.on_files, self.to_tell = {}, {}, {}

    def accept(self, place, who, identity):
        if who not in place or version(place[who]) <= version(identity):
            place[who] = identity

    @rule(who=PEOPLE, age_ms=AGES_MS, writer=st.sampled_from("ab"), disk=st.sampled_from(["free", "full"]))
    def write(self, who, age_ms, writer, disk):
        command = self.compose(who, age_ms, writer)
        if not self.away:
            self.redis.run(command)
            self.accept(self.on_redis, who, command.identity)
            return
        take_back = self.replay.keep(command)
        try:
            if disk == "full":
                raise StoreError("no space")
            self.on_disk(command)
        except StoreError:
            take_back()
        else:
            self.accept(self.on_files, who, command.identity)
            self.accept(self.to_tell, who, command.identity)

    def on_disk(self, command):
        (answer,) = self.files._run((command,))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def compose(self, who, age_ms, writer):
        room, participant = who
        stamp = self.now_ms - age_ms
        # One writer does not give one stamp to two texts.
        data = msgspec.json.encode({"from": writer, "at": stamp})
        return WriteIdentity(
            Identity(
                room_url=room,
                participant_id=participant,
                timestamp="then",
                data=msgspec.Raw(data),
                updated_ms=stamp,
                writer=writer,
            )
        )

    @rule(who=PEOPLE, age_ms=AGES_MS, writer=st.sampled_from("cd"))
    def another_host_writes(self, who, age_ms, writer):
        command = self.compose(who, age_ms, writer)
        self.redis.run(command)
        self.accept(self.on_redis, who, command.identity)

    @precondition(lambda self: not self.away)
    @rule(forgets=st.booleans())
    def redis_goes_away(self, forgets):
        self.away = True
        self.replay.lose()
        if forgets:
            self.redis.forget()
            self.on_redis.clear()

    @precondition(lambda self: self.away)
    @rule(carried_out=st.integers(0, 5), answered=st.integers(0, 5))
    def redis_comes_and_goes_again(self, carried_out, answered):
        """It carries out some of what it is told, and answers fewer."""
        before = len(self.to_tell)
        assert self.tell(carried_out, min(answered, carried_out)) is (min(answered, carried_out) >= before)
        assert len(self.replay) == len(self.to_tell)

    @precondition(lambda self: self.away)
    @rule()
    def redis_is_back(self):
        assert self.tell() is True
        assert len(self.replay) == 0
        assert not self.replay.fresh
        assert self.to_tell == {}
        self.away = False

    def is_told(self, who, identity):
        assert version(self.to_tell.pop(who)) == version(identity)

    def tell(self, carried_out=1_000, answered=1_000):
        async def execute(commands):
            nonlocal carried_out, answered
            now, carried_out = commands[:carried_out], max(0, carried_out - len(commands))
            answers = await self.redis.execute(now) if now else []
            for command in now:
                self.accept(self.on_redis, who_of(command), command.identity)
            heard, answered = answers[:answered], max(0, answered - len(commands))
            for command in now[: len(heard)]:
                self.is_told(who_of(command), command.identity)
            return [*heard, *[AWAY] * (len(commands) - len(heard))]

        answer, told = self.redis.loop.run(self.replay.run(execute, lambda queue, owner: False))
        assert told == []
        return answer

    @rule(who=PEOPLE)
    def somebody_deletes_a_file(self, who):
        (self.folder / "identity_dir" / identity_path(*who)).unlink(missing_ok=True)
        self.on_files.pop(who, None)

    @rule(room=st.sampled_from(ROOMS))
    def clean_up(self, room):
        files = self.on_disk(CleanUpIdentities(room))
        over = [who for who, identity in self.on_files.items() if who[0] == room and self.expired(identity)]
        assert files == len(over)
        for who in over:
            del self.on_files[who]
        self.redis.run(CleanUpIdentities(room))

    @rule(who=PEOPLE)
    def somebody_deletes_a_key(self, who):
        self.redis.delete(who)
        self.on_redis.pop(who, None)

    def expired(self, identity):
        return self.now_ms - identity.updated_ms > DAY_MS

    def fresh(self, place, who):
        identity = place.get(who)
        return None if identity is None or self.expired(identity) else version(identity)

    @rule(room=st.sampled_from(ROOMS))
    def read(self, room):
        listed = self.on_disk(ListIdentities(room))
        if not self.away:
            listed = merge(ListIdentities(room), self.redis.run(ListIdentities(room)), listed)
        found = {each.participant_id: version(each) for each in listed}
        for participant in ("ann", "bob"):
            who = (room, participant)
            redis, files = (self.fresh(place, who) for place in (self.on_redis, self.on_files))
            expected = files if self.away else max(filter(None, (redis, files)), default=None)
            assert found.get(participant) == expected
            one = self.on_disk(ReadIdentity(*who))
            if not self.away:
                answer = self.redis.run(ReadIdentity(*who))
                one = answer if settles(answer) else merge(ReadIdentity(*who), answer, one)
                expected = redis or files
            assert (one and version(one)) == expected

    @invariant()
    def redis_has_the_latest_that_it_was_told_with_the_rest_of_its_life(self):
        for who in [(room, name) for room in ROOMS for name in ("ann", "bob")]:
            stored = self.redis.find(who)
            assert (stored and version(stored)) == self.fresh(self.on_redis, who)
            if stored is not None:
                left_s = 86_400 - (self.now_ms - stored.updated_ms) / 1000
                assert left_s - 60 <= self.redis.lifetime_s(who) <= left_s + 60

    def teardown(self):
        self.redis.close()
        self.files.close()
        shutil.rmtree(self.folder)


class RealReplayMachine(ReplayMachine):
    new_redis = RealRedis


def test_after_an_outage_redis_has_the_latest_of_what_was_accepted():
    run_state_machine_as_test(ReplayMachine, settings=examples(80, steps=40))


def test_after_an_outage_a_real_redis_has_it_too():
    run_state_machine_as_test(RealReplayMachine, settings=examples(10, steps=30))
