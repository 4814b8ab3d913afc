"""What every store does, whatever it is made of."""

import time

import anyio
import msgspec
import pytest

from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.errors import LeaseLost, StoreError, StoreUnavailable
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identity import Identity
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    BuryMessage,
    CleanUpIdentities,
    Command,
    Done,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    PushControl,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    ReleaseLease,
    ReturnMessage,
    Sweep,
    TakeControl,
    WriteHeartbeat,
    WriteIdentity,
)
from botvisor.testing.memory import MemoryStore
from botvisor.wire import IDENTITY_TTL_S, LEASE_TTL_S, MAX_MESSAGE_BYTES, MAX_TRIES

from .redis_world import VERSIONS, RedisWorld, server

QUEUE = Queue("bot", "bot-1")
ROOM = "https://example.test/room"
ONE = own("bot-1", "one")
TWO = own("bot-1", "two")


class MemoryWorld:
    """A store in memory; a process that dies is one whose lease runs out."""

    def __init__(self, _tmp_path):
        self.now = 0.0
        self.store = MemoryStore(clock=lambda: self.now)

    def die(self):
        self.now += LEASE_TTL_S + 1

    async def aclose(self):
        pass


class FileWorld:
    """Files in a directory of the test's own; a process that dies lets go of its locks."""

    def __init__(self, tmp_path):
        self.settings = Settings(
            admin_message_dir=tmp_path / "admin",
            heartbeat_dir=tmp_path / "heartbeats",
            identity_dir=tmp_path / "identities",
        )
        self.store = FileStore(self.settings)

    def die(self):
        self.store.close()
        self.store = FileStore(self.settings)

    async def aclose(self):
        self.store.close()


@pytest.fixture(params=["memory", "files", *VERSIONS])
async def world(request, tmp_path):
    match request.param:
        case "memory":
            world = MemoryWorld(tmp_path)
        case "files":
            world = FileWorld(tmp_path)
        case version:
            world = RedisWorld(await server(version))
    yield world
    await world.aclose()


async def ask(world, command):
    """Carry one command out: return its result or raise its error."""
    with anyio.fail_after(10):
        (answer,) = await world.store.execute([command])
    if isinstance(answer, Exception):
        raise answer
    return answer


def message(message_id, **fields):
    return msgspec.json.encode({"id": message_id, "message": "hello", **fields})


async def push(world, *ids, queue=QUEUE):
    for message_id in ids:
        await ask(world, PushMessage(queue, message_id, message(message_id)))


async def lease(world, owner=ONE, queue=QUEUE):
    return await ask(world, AcquireLease(queue, owner))


async def take(world, done=None, *, instance="one", attempt="first", queue=QUEUE):
    return await ask(world, NextMessage(queue, instance, attempt, done))


def done_with(claim):
    return Done(claim.token, msgspec.json.decode(claim.raw).get("id", claim.name))


async def receipt(world, message_id, queue=QUEUE):
    return await ask(world, ReadReceipt(queue, message_id))


# Heartbeats


def beat(bot_id, seq=1):
    heartbeat = Heartbeat(
        pid=4711, room_url=ROOM, participants=("ann",), timestamp="2026-01-01T00:00:00+00:00", bot_id=bot_id,
        seq=seq, health={"lag_ms": 1.5}, epitaph={"reason": "bye"},
    )  # fmt: skip
    return WriteHeartbeat(bot_id, to_hash(heartbeat)), heartbeat


async def test_a_heartbeat_reads_as_it_was_written(world):
    command, heartbeat = beat("bot-1")
    assert await ask(world, command) is None
    assert await ask(world, ReadHeartbeat("bot-1")) == heartbeat


async def test_the_latest_heartbeat_wins(world):
    for seq in (1, 2):
        await ask(world, beat("bot-1", seq)[0])
    assert (await ask(world, ReadHeartbeat("bot-1"))).seq == 2


async def test_an_unknown_bot_has_no_heartbeat(world):
    assert await ask(world, ReadHeartbeat("nobody")) is None


async def test_all_heartbeats_are_listed(world):
    for bot_id in ("b", "a", "c:1"):
        await ask(world, beat(bot_id)[0])
    assert {heartbeat.bot_id for heartbeat in await ask(world, ListHeartbeats())} == {"a", "b", "c:1"}


# Identities


def identity(participant_id="ann", room_url=ROOM, *, age_s=0.0, writer="w", **data):
    return Identity(
        participant_id=participant_id,
        room_url=room_url,
        timestamp="2026-01-01T00:00:00+00:00",
        data=msgspec.Raw(msgspec.json.encode(data)),
        updated_ms=int((time.time() - age_s) * 1000),
        writer=writer,
    )


async def test_an_identity_reads_as_it_was_written(world):
    written = identity(name="Ann")
    assert await ask(world, WriteIdentity(written)) is None
    found = await ask(world, ReadIdentity(ROOM, "ann"))
    assert found.merged() == written.merged()
    assert found.merged()["name"] == "Ann"


async def test_the_last_writer_of_an_identity_wins_whatever_the_order(world):
    new, old = identity(v=2), identity(age_s=60, v=1)
    for written in (old, new, old):
        await ask(world, WriteIdentity(written))
    assert (await ask(world, ReadIdentity(ROOM, "ann"))).merged()["v"] == 2


async def test_the_writer_decides_between_two_writes_of_one_millisecond(world):
    first = identity(writer="a")
    second = msgspec.structs.replace(first, writer="b")
    for written in (second, first):
        await ask(world, WriteIdentity(written))
    assert (await ask(world, ReadIdentity(ROOM, "ann"))).writer == "b"


async def test_a_room_lists_its_own_identities_only(world):
    for participant, room in (("ann", ROOM), ("bob", ROOM), ("eve", ROOM + "2")):
        await ask(world, WriteIdentity(identity(participant, room)))
    found = await ask(world, ListIdentities(ROOM))
    assert sorted(item.participant_id for item in found) == ["ann", "bob"]
    assert await ask(world, ListIdentities("https://example.test/empty")) == []


async def test_an_expired_identity_is_neither_read_nor_listed_and_is_cleaned_up(world):
    await ask(world, WriteIdentity(identity("ann")))
    await ask(world, WriteIdentity(identity("old", age_s=IDENTITY_TTL_S + 5)))
    assert await ask(world, ReadIdentity(ROOM, "old")) is None
    assert [item.participant_id for item in await ask(world, ListIdentities(ROOM))] == ["ann"]
    assert await ask(world, CleanUpIdentities(ROOM)) == 1
    assert await ask(world, CleanUpIdentities(ROOM)) == 0
    assert await ask(world, ReadIdentity(ROOM, "ann")) is not None


@pytest.mark.parametrize("participant_id", ["../../etc/passwd", "nul\0", "p" * 5000, "ä/é", ".", ""])
async def test_any_participant_id_is_kept_apart(world, participant_id):
    await ask(world, WriteIdentity(identity(participant_id, who="me")))
    assert (await ask(world, ReadIdentity(ROOM, participant_id))).participant_id == participant_id
    assert await ask(world, ReadIdentity(ROOM, participant_id + "x")) is None


async def test_a_colon_between_room_and_participant_is_no_bridge(world):
    await ask(world, WriteIdentity(identity("c", "a:b")))
    assert await ask(world, ReadIdentity("a", "b:c")) is None


# Leases


async def test_a_free_lease_is_granted_and_renewed(world):
    assert await lease(world) is None
    assert await lease(world) is None


async def test_a_lease_that_is_held_names_its_owner(world):
    await lease(world)
    assert await lease(world, TWO) == ONE


async def test_a_lease_that_was_given_up_is_free(world):
    await lease(world)
    await ask(world, ReleaseLease(QUEUE, "one"))
    assert await lease(world, TWO) is None


async def test_only_its_owner_gives_a_lease_up(world):
    await lease(world)
    await ask(world, ReleaseLease(QUEUE, "two"))
    assert await lease(world, TWO) == ONE


async def test_the_lease_of_a_dead_owner_is_free(world):
    await lease(world)
    world.die()
    assert await lease(world, TWO) is None


async def test_each_queue_has_its_own_lease(world):
    await lease(world)
    assert await lease(world, TWO, Queue("room", ROOM)) is None
    assert await lease(world, TWO, Queue("bot", "bot-1.2")) is None


async def test_without_the_lease_nothing_is_claimed_returned_or_buried(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    for command in (
        NextMessage(QUEUE, "two", "a"),
        NextMessage(QUEUE, "two", "a", done_with(claim), take=False),
        ReturnMessage(QUEUE, "two", claim.token),
        BuryMessage(QUEUE, "two", claim.token, "no"),
    ):
        with pytest.raises(LeaseLost):
            await ask(world, command)
    assert await receipt(world, "m") == "delivered"


# Messages: claim and acknowledge


async def test_a_message_is_claimed_as_it_was_pushed(world):
    began = time.time()
    assert isinstance(await ask(world, PushMessage(QUEUE, "m", message("m", mode="queued"))), str)
    await lease(world)
    claim = await take(world)
    assert claim.raw == message("m", mode="queued")
    assert (claim.tries, claim.done, claim.doubtful) == (1, False, False)
    assert began - 5 < claim.stored_at < time.time() + 5


async def test_an_empty_queue_gives_nothing(world):
    await lease(world)
    assert await take(world) is None


async def test_messages_come_in_the_order_they_were_pushed(world):
    ids = [f"m{number}" for number in range(20)]
    await push(world, *ids)
    await lease(world)
    seen, done = [], None
    while (claim := await take(world, done)) is not None:
        done = done_with(claim)
        seen.append(done.message_id)
    assert seen == ids


async def test_only_one_message_is_in_flight(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    assert await take(world) == first
    assert await receipt(world, "m2") == "stored"


async def test_a_message_pushed_while_another_is_in_flight_comes_next(world):
    await push(world, "m1")
    await lease(world)
    first = await take(world)
    await push(world, "m2")
    assert (await take(world, done_with(first))).raw == message("m2")


async def test_take_false_acknowledges_and_claims_nothing(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    assert await ask(world, NextMessage(QUEUE, "one", "first", done_with(first), take=False)) is None
    assert [await receipt(world, each) for each in ("m1", "m2")] == ["handled", "stored"]


async def test_acknowledging_twice_is_harmless(world):
    await push(world, "m1", "m2")
    await lease(world)
    done = done_with(await take(world))
    second = await take(world, done)
    assert await take(world, done) == second
    assert (await take(world, done_with(second))) is None


async def test_two_equal_texts_without_id_are_two_messages(world):
    for number in (1, 2):
        await ask(world, PushMessage(QUEUE, f"n{number}", b'{"message":"twice"}'))
    await lease(world)
    first = await take(world)
    second = await take(world, Done(first.token, first.name))
    assert first.name != second.name
    assert not second.done
    assert await take(world, Done(second.token, second.name)) is None


async def test_queues_do_not_see_each_others_messages(world):
    queues = [
        QUEUE,
        Queue("bot", "bot"),
        Queue("bot", "bot-1-2"),
        Queue("room", ROOM),
        Queue("pre-spawn", ROOM),
    ]
    for number, queue in enumerate(queues):
        await push(world, f"m{number}", queue=queue)
    for number, queue in enumerate(queues):
        await lease(world, queue=queue)
        claim = await take(world, queue=queue)
        assert claim.raw == message(f"m{number}")
        assert await take(world, done_with(claim), queue=queue) is None


# Messages: again, and again


async def test_another_attempt_gets_the_message_in_flight_again_with_one_more_try(world):
    await push(world, "m")
    await lease(world)
    first = await take(world, attempt="a")
    second = await take(world, attempt="b")
    assert (second.token, second.raw, second.tries) == (first.token, first.raw, 2)
    assert await take(world, attempt="b") == second


async def test_a_successor_adopts_the_message_in_flight(world):
    await push(world, "m", "later")
    await lease(world)
    await take(world)
    world.die()
    await lease(world, TWO)
    claim = await take(world, instance="two", attempt="second")
    assert (claim.raw, claim.tries) == (message("m"), 2)


async def test_what_was_acknowledged_stays_so_for_a_successor(world):
    await push(world, "m1", "m2")
    await lease(world)
    await take(world, done_with(await take(world)))
    world.die()
    await lease(world, TWO)
    claim = await take(world, instance="two", attempt="second")
    assert (claim.raw, claim.tries) == (message("m2"), 2)
    assert await receipt(world, "m1") == "handled"


async def test_a_message_that_was_tried_too_often_is_given_up_and_the_next_one_comes(world):
    await push(world, "bad", "good")
    await lease(world)
    for number in range(MAX_TRIES):
        claim = await take(world, attempt=f"a{number}")
        assert (claim.raw, claim.tries) == (message("bad"), number + 1)
    assert (await take(world, attempt="last")).raw == message("good")
    assert await receipt(world, "bad") == "dead"


async def test_a_dead_letter_is_listed_with_its_reason(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "nobody wants it"))
    (letter,) = await ask(world, ListMessages(QUEUE))
    assert (letter.raw, letter.state, letter.reason) == (message("m"), "dead", "nobody wants it")
    assert letter.tries == 1
    assert await take(world) is None


async def test_burying_by_an_old_token_is_harmless(world):
    await push(world, "m1", "m2")
    await lease(world)
    first = await take(world)
    await take(world, done_with(first))
    await ask(world, BuryMessage(QUEUE, "one", first.token, "too late"))
    assert await receipt(world, "m2") == "delivered"


async def test_a_malformed_message_leaves_the_queue_and_is_no_dead_letter(world):
    await push(world, "m1", "m2")
    await lease(world)
    claim = await take(world)
    await ask(world, BuryMessage(QUEUE, "one", claim.token, "no text", malformed=True))
    assert (await take(world)).raw == message("m2")
    assert await receipt(world, "m1") == "unknown"


async def test_what_is_no_json_never_blocks_what_is_behind_it(world):
    await ask(world, PushMessage(QUEUE, "cut", b'{"message": "cut o'))
    await push(world, "m")
    await lease(world)
    assert (await take(world)).raw == message("m")


async def test_a_returned_message_is_the_next_one_and_was_never_tried(world):
    await push(world, "m1", "m2")
    await lease(world)
    claim = await take(world)
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    assert await receipt(world, "m1") == "stored"
    again = await take(world, attempt="b")
    assert (again.raw, again.tries) == (message("m1"), 1)


async def test_a_returned_message_that_was_shown_before_stays_marked(world):
    await push(world, "m1", "m2")
    await lease(world)
    await take(world, attempt="shown")
    claim = await take(world, attempt="not shown")
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    await ask(world, ReleaseLease(QUEUE, "one"))
    await lease(world, TWO)
    again = await take(world, instance="two", attempt="third")
    assert (again.raw, again.tries) == (message("m1"), 2)


async def test_returning_by_an_old_token_is_harmless(world):
    await push(world, "m")
    await lease(world)
    first = await take(world)
    await take(world, done_with(first))
    await ask(world, ReturnMessage(QUEUE, "one", first.token))
    assert await take(world) is None


# Messages: the same id twice


async def test_a_message_that_was_handled_comes_marked_as_done_when_it_is_sent_again(world):
    await push(world, "m")
    await lease(world)
    await take(world, done_with(await take(world)))
    await push(world, "m")
    claim = await take(world)
    assert claim.done
    assert await take(world, done_with(claim)) is None


async def test_the_second_of_two_waiting_twins_is_marked_as_done_at_its_claim(world):
    await push(world, "m", "m")
    await lease(world)
    first = await take(world)
    assert not first.done
    second = await take(world, done_with(first))
    assert second.done
    assert second.token != first.token


async def test_a_message_sent_again_while_in_flight_is_marked_as_done_later(world):
    await push(world, "m")
    await lease(world)
    first = await take(world)
    await push(world, "m")
    assert (await take(world, done_with(first))).done


async def test_a_done_that_comes_late_marks_the_message_that_went_back(world):
    await push(world, "m")
    await lease(world)
    claim = await take(world)
    await ask(world, ReturnMessage(QUEUE, "one", claim.token))
    again = await take(world, done_with(claim))
    assert again is None or again.done


# Receipts


async def test_a_receipt_follows_the_message(world):
    assert await receipt(world, "m") == "unknown"
    await push(world, "m")
    assert await receipt(world, "m") == "stored"
    await lease(world)
    claim = await take(world)
    assert await receipt(world, "m") == "delivered"
    await take(world, done_with(claim))
    assert await receipt(world, "m") == "handled"


@pytest.mark.parametrize("message_id", ["a/b", "x" * 300, "é-ü", "1.2", "%2F", ".."])
async def test_any_message_id_has_its_receipt(world, message_id):
    await push(world, message_id)
    assert await receipt(world, message_id) == "stored"
    await lease(world)
    claim = await take(world)
    await take(world, Done(claim.token, message_id))
    assert await receipt(world, message_id) == "handled"


async def test_messages_are_listed_oldest_first_and_stay_where_they_are(world):
    await push(world, "m1", "m2", "m3")
    await lease(world)
    claim = await take(world)
    listed = await ask(world, ListMessages(QUEUE))
    assert [item.raw for item in listed] == [message("m1"), message("m2"), message("m3")]
    assert [item.state for item in listed] == ["delivered", "stored", "stored"]
    assert await take(world) == claim


async def test_a_message_over_the_limit_is_refused(world):
    with pytest.raises(StoreError):
        await ask(world, PushMessage(QUEUE, "m", b'"' + b"x" * MAX_MESSAGE_BYTES + b'"'))
    assert await ask(world, ListMessages(QUEUE)) == []


# Control


async def test_control_is_taken_once_in_order_by_its_bot_alone(world):
    for number in range(3):
        await ask(world, PushControl("bot-1", f"c{number}", b"%d" % number))
    await ask(world, PushControl("bot-2", "c", b"other"))
    assert await ask(world, TakeControl("bot-1")) == [b"0", b"1", b"2"]
    assert await ask(world, TakeControl("bot-1")) == []
    assert await ask(world, TakeControl("bot-2")) == [b"other"]


# Batches


async def test_a_batch_is_answered_command_by_command_in_order(world):
    answers = await world.store.execute(
        [
            PushMessage(QUEUE, "m", message("m")),
            NextMessage(QUEUE, "one", "a"),
            AcquireLease(QUEUE, ONE),
            NextMessage(QUEUE, "one", "a"),
            ReadReceipt(QUEUE, "m"),
        ]
    )
    assert isinstance(answers[0], str)
    assert isinstance(answers[1], LeaseLost)
    assert answers[2] is None
    assert answers[3].raw == message("m")
    assert answers[4] == "delivered"


async def test_an_empty_batch_is_answered_with_nothing(world):
    assert await world.store.execute([]) == []


async def test_an_unknown_command_fails_alone(world):
    class Unknown(Command, frozen=True):
        pass

    first, second = await world.store.execute([Unknown(), ReadHeartbeat("bot-1")])
    assert isinstance(first, Exception)
    assert second is None


async def test_sweeping_leaves_what_has_not_expired(world):
    await push(world, "m1", "m2")
    await lease(world)
    await take(world, done_with(await take(world)))
    await ask(world, beat("bot-1")[0])
    await ask(world, WriteIdentity(identity()))
    await ask(world, PushControl("bot-1", "c", b"{}"))
    assert await ask(world, Sweep()) == 0
    assert [await receipt(world, each) for each in ("m1", "m2")] == ["handled", "delivered"]


# Faults on demand


async def test_a_store_in_memory_fails_whole_batches_until_it_is_healed():
    store = MemoryStore()
    error = StoreUnavailable("no disk")
    store.fail_with(error)
    assert await store.execute([ReadHeartbeat("a"), Sweep()]) == [error, error]
    store.fail_with(None)
    assert await store.execute([ReadHeartbeat("a")]) == [None]


@pytest.mark.virtual_time
async def test_a_store_in_memory_is_slow_on_demand():
    store = MemoryStore()
    store.slow(30)
    began = anyio.current_time()
    await store.execute([Sweep()])
    assert anyio.current_time() - began == pytest.approx(30)


@pytest.mark.virtual_time
async def test_a_store_in_memory_hangs_until_it_is_healed():
    store = MemoryStore()
    store.hang()
    answers = []

    async def execute():
        answers.extend(await store.execute([ReadHeartbeat("a")]))

    async with anyio.create_task_group() as group:
        group.start_soon(execute)
        await anyio.sleep(1000)
        assert answers == []
        store.heal()
    assert answers == [None]


@pytest.mark.virtual_time
async def test_a_lease_in_memory_ends_when_it_is_not_renewed():
    store = MemoryStore()
    await store.execute([AcquireLease(QUEUE, ONE)])
    await anyio.sleep(LEASE_TTL_S + 1)
    first, second = await store.execute([NextMessage(QUEUE, "one", "a"), AcquireLease(QUEUE, TWO)])
    assert isinstance(first, LeaseLost)
    assert second is None
