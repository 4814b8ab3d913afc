"""What every store keeps: heartbeats, identities, control; and batches."""

import time
from datetime import UTC, datetime

import msgspec
import pytest

from botvisor.errors import LeaseLost
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.identity import Identity
from botvisor.store import (
    AcquireLease,
    CleanUpIdentities,
    Command,
    ListHeartbeats,
    ListIdentities,
    NextMessage,
    PushControl,
    PushMessage,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    Sweep,
    TakeControl,
    WriteHeartbeat,
    WriteIdentity,
)
from botvisor.wire import IDENTITY_TTL_S

from .store_worlds import ONE, QUEUE, ROOM, ask, done_with, lease, message, push, receipt, take

# Heartbeats


def beat(bot_id, seq=1):
    now = datetime.now(UTC).isoformat()
    heartbeat = Heartbeat(
        pid=4711, room_url=ROOM, participants=("ann",), timestamp=now, bot_id=bot_id, seq=seq,
        health={"lag_ms": 1.5}, epitaph={"reason": "bye"},
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


async def test_who_asks_for_the_living_hears_of_no_bot_that_has_stopped(world):
    written = datetime.now(UTC).isoformat()
    for status in ("healthy", "stopped"):
        heartbeat = msgspec.structs.replace(beat(status)[1], timestamp=written, status=status, epitaph=None)
        await ask(world, WriteHeartbeat(status, to_hash(heartbeat)))
    assert (await ask(world, ReadHeartbeat("healthy", living=True))).status == "healthy"
    assert await ask(world, ReadHeartbeat("stopped", living=True)) is None
    assert (await ask(world, ReadHeartbeat("stopped"))).status == "stopped"


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
