"""Rooms, leases and batches of the store on files, and a system that refuses."""

import hashlib
import json
import resource
import signal
import time

import anyio
import pytest

from botvisor.actors.backend.lock import exclusive
from botvisor.errors import LeaseLost, StoreUnavailable
from botvisor.store import (
    AcquireLease,
    ListHeartbeats,
    ListMessages,
    PushMessage,
    Queue,
    ReadHeartbeat,
    ReadReceipt,
    ReleaseLease,
    Sweep,
    WriteHeartbeat,
)

from .file_rig import GOOD, ONE, QUEUE, ROOM, TWO, beat, identity


async def test_a_room_has_one_queue_however_its_url_is_written(files):
    raw = "HTTPS://Example.test:443/room/?x=1"
    for message_id, url in (("m1", raw), ("m2", ROOM)):
        await files.push(message_id, b'{"message":"hi","id":"%s"}' % message_id.encode(), Queue("room", url))
    alias, queue = Queue("room", raw), Queue("room", ROOM)
    for each in (alias, queue):
        assert await files.lease(each) is None
    assert await files.take(queue=alias) is None
    claim = await files.take(queue=queue)
    assert json.loads(claim.raw)["id"] == "m1"
    assert await files.ask(ReadReceipt(alias, "m1")) == "delivered"
    assert await files.ask(ListMessages(alias)) == []
    await files.ask(ReleaseLease(alias, "one"))
    assert await files.take(queue=queue) == claim
    assert await files.lease(alias, TWO) is None


async def test_messages_for_a_room_without_a_bot_wait_for_the_first_one(files):
    canonical = hashlib.sha256(ROOM.encode()).hexdigest()[:12]
    files.drop(f"pre-spawn-{canonical}-1.json")
    queue = Queue("pre-spawn", ROOM)
    await files.lease(queue)
    assert (await files.take(queue=queue)).name == f"pre-spawn-{canonical}-1.json"


# Leases on a directory that changes


async def test_a_lease_is_lost_with_its_directory_and_can_be_acquired_again(files):
    await files.push("m1")
    await files.lease()
    files.admin.rename(files.root / "moved")
    with pytest.raises(LeaseLost):
        await files.take()
    assert await files.lease() is None
    await files.push("m2")
    assert await files.take() is not None


async def test_two_stores_in_one_process_exclude_each_other(files):
    other = files.new_store()
    await files.lease()
    assert await other.execute([AcquireLease(QUEUE, TWO)]) == [ONE]
    files.store.close()
    assert await other.execute([AcquireLease(QUEUE, TWO)]) == [None]
    other.close()


# Batches


async def test_a_batch_costs_one_hop_to_a_thread(files, monkeypatch):
    hops = []
    run_sync = anyio.to_thread.run_sync

    async def counted(*args, **kwargs):
        hops.append(args)
        return await run_sync(*args, **kwargs)

    monkeypatch.setattr(anyio.to_thread, "run_sync", counted)
    commands = [beat(), identity(), PushMessage(QUEUE, "m", GOOD), ListHeartbeats(), Sweep()] * 4
    answers = await files.store.execute(commands)
    assert not any(isinstance(answer, Exception) for answer in answers)
    assert len(hops) == 1


async def test_an_unexpected_error_hits_its_own_command_only(files):
    first, second, third = await files.store.execute([beat(), WriteHeartbeat("4711", {"pid": None}), Sweep()])
    assert (first, third) == (None, 0)
    assert isinstance(second, Exception)


async def test_a_batch_waits_for_the_cancelled_one_before_it(files):
    await files.ask(identity())
    (room,) = [path for path in files.identities.iterdir() if not path.name.startswith(".")]
    with exclusive(str(room), 0):  # the next write waits a quarter of a second for it
        with anyio.move_on_after(0.05) as scope:
            await files.store.execute([identity(), PushMessage(QUEUE, "m", GOOD)])
        assert scope.cancelled_caught
        assert await files.ask(ReadReceipt(QUEUE, "m")) == "stored"


async def test_a_batch_behind_one_that_hangs_is_unavailable_in_time(files):
    await files.ask(identity())
    (room,) = [path for path in files.identities.iterdir() if not path.name.startswith(".")]
    with exclusive(str(room), 0):
        with anyio.move_on_after(0.05):
            await files.store.execute([identity()] * 8)
        began = time.monotonic()
        answers = await files.store.execute([ReadHeartbeat("a"), ReadHeartbeat("b")])
        assert time.monotonic() - began < 1.8
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    with anyio.fail_after(10):
        while isinstance((await files.store.execute([ReadHeartbeat("a")]))[0], StoreUnavailable):
            pass


# A system that refuses


@pytest.fixture
def no_space():
    """Let no file grow, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, previous)


@pytest.mark.parametrize("command", [PushMessage(QUEUE, "m", GOOD), beat(), identity()], ids=type)
async def test_what_cannot_be_written_is_an_error_with_path_and_reason_and_leaves_nothing(
    files, no_space, command
):
    no_space()
    with pytest.raises(StoreUnavailable, match=r"/.*: .*\(EFBIG\)"):
        await files.ask(command)
    assert [path for path in files.root.rglob("*") if path.is_file()] == []


async def test_a_lease_that_cannot_be_written_is_not_held(files, no_space):
    no_space()
    with pytest.raises(StoreUnavailable):
        await files.lease()
    with pytest.raises(LeaseLost):
        await files.take()


async def test_without_descriptors_the_store_is_unavailable_and_recovers(files):
    await files.ask(beat())
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        answers = await files.store.execute([beat(), ReadHeartbeat("4711"), PushMessage(QUEUE, "m", GOOD)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert all("EMFILE" in str(answer) for answer in answers)
    assert (await files.ask(ReadHeartbeat("4711"))).bot_id == "4711"
