import contextlib

import anyio
import msgspec
import pytest

from botvisor.errors import StoreUnavailable
from botvisor.identities import CACHED_S, IdentityCache, new_identity
from botvisor.identity import Identity
from botvisor.store import ReadIdentity, WriteIdentity
from botvisor.testing import MemoryStore, crash
from botvisor.timers import Timers
from botvisor.wire import MAX_MESSAGE_BYTES

from .bot_rig import ROOM, Reader, bot_on

pytestmark = pytest.mark.virtual_time


def identity(data=b"{}", **fields):
    return Identity(
        **{"participant_id": "one", "room_url": ROOM, "timestamp": "t", "data": msgspec.Raw(data), **fields}
    )


def room(store, **options):
    return bot_on(store, Reader(), room_url=ROOM, **options)


async def write_elsewhere(store, **fields):
    assert await store.execute([WriteIdentity(identity(**fields))]) == [None]


async def test_what_is_written_is_read_with_the_three_fixed_fields():
    async with room(MemoryStore()) as rig:
        await rig.bot.identities.write("one", {"sessionUserName": "John", "room_url": "mine", "timestamp": 0})
        found = await rig.bot.identities.read("one")
    assert (found["participant_id"], found["room_url"], found["sessionUserName"]) == ("one", ROOM, "John")
    assert found["timestamp"].endswith("+00:00")


async def test_nobody_has_written_of_a_stranger():
    async with room(MemoryStore()) as rig:
        assert await rig.bot.identities.read("stranger") is None


async def test_another_process_reads_what_was_written():
    store = MemoryStore()
    async with room(store, bot_id="one") as one, room(store, bot_id="two") as two:
        await one.bot.identities.write("someone", {"a": 1})
        assert (await two.bot.identities.read("someone"))["a"] == 1


async def test_the_list_has_everybody_of_the_room_and_nobody_else():
    store = MemoryStore()
    await write_elsewhere(store, participant_id="other", room_url="https://example.test/other")
    async with room(store) as rig:
        for name in ("one", "two"):
            await rig.bot.identities.write(name, {})
        assert [found["participant_id"] for found in await rig.bot.identities.list()] == ["one", "two"]


async def test_a_clean_up_removes_what_has_expired_from_the_cache_too():
    days = 0
    store = MemoryStore(lambda: anyio.current_time() + days * 86_400)
    async with room(store) as rig:
        await rig.bot.identities.write("one", {})
        days = 1.5
        assert await rig.bot.identities.read("one") is not None
        assert await rig.bot.identities.cleanup() == 1
        assert await rig.bot.identities.read("one") is None


# The cache.


async def test_a_hit_asks_no_store():
    async with room(MemoryStore()) as rig:
        await rig.bot.identities.write("one", {"a": 1})
        for _ in range(10):
            assert (await rig.bot.identities.read("one"))["a"] == 1
        assert rig.link.counts["ReadIdentity"] == 0


async def test_a_hit_does_not_wait_for_a_store_that_hangs():
    store = MemoryStore()
    async with room(store) as rig, anyio.create_task_group() as group:
        await rig.bot.identities.write("one", {})
        store.hang()
        group.start_soon(read_quietly, rig.bot.identities, "two")
        await anyio.sleep(0.1)
        with anyio.fail_after(0.01):
            await rig.bot.identities.read("one")
        store.heal()


async def test_many_who_miss_the_same_participant_cost_one_read():
    store = MemoryStore()
    await write_elsewhere(store, data=b'{"a": 1}')
    async with room(store) as rig:
        found = []

        async def read():
            found.append((await rig.bot.identities.read("one"))["a"])

        store.slow(1)
        async with anyio.create_task_group() as group:
            for number in range(30):
                group.start_soon(read)
                await anyio.sleep(0.05 * (number % 2))
        assert found == [1] * 30
        assert rig.link.counts["ReadIdentity"] == 1


async def test_what_a_reader_does_to_his_copy_no_other_reader_sees():
    async with room(MemoryStore()) as rig:
        await rig.bot.identities.write("flat", {"a": 1})
        await rig.bot.identities.write("nested", {"a": {"b": [1]}})
        for _ in range(2):
            flat, nested = [await rig.bot.identities.read(who) for who in ("flat", "nested")]
            assert (flat["a"], nested["a"]) == (1, {"b": [1]})
            flat["a"] = 2
            nested["a"]["b"].append(2)


async def test_what_others_write_is_seen_once_the_entry_is_old():
    store = MemoryStore()
    async with room(store) as rig:
        await rig.bot.identities.write("one", {"a": 1})
        await write_elsewhere(store, data=b'{"a": 2}', updated_ms=2**50)
        await anyio.sleep(CACHED_S - 1)
        assert (await rig.bot.identities.read("one"))["a"] == 1
        await rig.bot.identities.write("later", {})
        await anyio.sleep(1.01)
        assert (await rig.bot.identities.read("one"))["a"] == 2
        assert rig.link.counts["ReadIdentity"] == 1
        await rig.bot.identities.read("later")
        assert rig.link.counts["ReadIdentity"] == 1
        await anyio.sleep(CACHED_S)
        await rig.bot.identities.read("later")
        assert rig.link.counts["ReadIdentity"] == 2


@pytest.mark.parametrize("cached", [True, False])
async def test_a_read_that_was_sent_after_a_write_sees_it(cached):
    store = MemoryStore()
    await write_elsewhere(store, data=b'{"a": 1}')
    async with room(store) as rig:
        if cached:
            await rig.bot.identities.read("one")
        read, new = ReadIdentity(ROOM, "one"), new_identity(ROOM, "one", {"a": 2}, "writer")
        answers = await rig.bot.actors["identity"].ask_all([read, WriteIdentity(new), read], timeout=5)
    assert [answer.merged()["a"] for answer in answers[::2]] == [1, 2]


async def test_what_a_caller_does_with_his_copy_changes_nothing():
    async with room(MemoryStore()) as rig:
        data = {"names": ["John"]}
        await rig.bot.identities.write("one", data)
        data["names"].append("mine")
        (await rig.bot.identities.read("one"))["names"].append("mine, too")
        assert (await rig.bot.identities.read("one"))["names"] == ["John"]


async def test_the_cache_holds_ten_thousand_and_no_more():
    cache = IdentityCache(Timers())
    for number in range(10_001):
        cache.put(identity(participant_id=str(number)))
    assert len(cache) == 10_000
    assert cache.get("0") is None
    assert cache.get("10000") is not None


async def test_the_cache_keeps_the_later_of_two_writes():
    cache = IdentityCache(Timers())
    for version in ((5, "b"), (5, "a"), (4, "c")):
        cache.put(identity(updated_ms=version[0], writer=version[1]))
    assert cache.get("one").version() == (5, "b")
    cache.put(identity(updated_ms=6, writer="a"))
    assert cache.get("one").version() == (6, "a")
    cache.changed("one")
    assert cache.get("one") is None


# What goes wrong.


@pytest.mark.parametrize(
    ("participant_id", "data", "error"),
    [
        ("one", {"a": object()}, TypeError),
        ("one", "text", TypeError),
        ("one", {"a": "\ud800"}, ValueError),
        ("\ud800", {}, ValueError),
        (12, {}, TypeError),
        ("one", {"a": "x" * MAX_MESSAGE_BYTES}, ValueError),
    ],
)
async def test_what_cannot_be_written_fails_its_caller_alone(participant_id, data, error):
    async with room(MemoryStore()) as rig:
        with pytest.raises(error):
            await rig.bot.identities.write(participant_id, data)
        await rig.bot.identities.write("one", {"a": 1})
        assert rig.supervisor.core.ledger.restarts() == 0


async def test_data_nested_too_deeply_is_a_value_error():
    data = {}
    for _ in range(100_000):
        data = {"a": data}
    with pytest.raises(ValueError, match="nested"):
        new_identity(ROOM, "one", data, "writer")


@pytest.mark.parametrize("raw", [b'{"a": "\xff"}', b"[" * 9_999, b"[1]", b'"text"', b"1" + b"0" * 9_999])
async def test_data_that_cannot_be_read_leaves_the_fixed_fields(raw):
    assert identity(raw).merged() == {"participant_id": "one", "room_url": ROOM, "timestamp": "t"}


@pytest.mark.parametrize(
    "fault", ["the store fails", "the store hangs", "the actor crashes", "the actor has stopped"]
)
async def test_whatever_fails_it_is_the_store_that_is_unavailable(fault):
    store = MemoryStore()
    async with room(store) as rig:
        if fault == "the store fails":
            store.fail_with(StoreUnavailable("no disk"))
        if fault in ("the store hangs", "the actor crashes"):
            store.hang()
        if fault == "the actor has stopped":
            await rig.handle.stop("the test")
        identities, errors = rig.bot.identities, []

        async def expect(call, *arguments):
            with pytest.raises(StoreUnavailable) as caught:
                await call(*arguments)
            errors.append(caught.value)

        async with anyio.create_task_group() as group:
            group.start_soon(expect, identities.write, "one", {})
            group.start_soon(expect, identities.read, "one")
            group.start_soon(expect, identities.list)
            group.start_soon(expect, identities.cleanup)
            if fault == "the actor crashes":
                crash(rig.bot, "identity")
        assert len(errors) == 4
        store.heal()


async def test_a_crash_of_the_actor_keeps_the_cache():
    async with room(MemoryStore()) as rig:
        await rig.bot.identities.write("one", {"a": 1})
        crash(rig.bot, "identity")
        await anyio.sleep(1)
        assert (await rig.bot.identities.read("one"))["a"] == 1
        await rig.bot.identities.write("one", {"a": 2})
        assert (await rig.bot.identities.read("one"))["a"] == 2
        assert rig.link.counts["ReadIdentity"] == 0


async def test_a_message_that_is_no_command_is_answered_and_its_batch_mates_are_served():
    async with room(MemoryStore()) as rig:
        ask = rig.bot.actors["identity"].ask_all
        answers = await ask([ReadIdentity(ROOM, "one"), "nonsense", ReadIdentity(ROOM, "two")], timeout=5)
        assert [type(answer) for answer in answers] == [type(None), TypeError, type(None)]
        assert rig.supervisor.core.ledger.restarts() == 0


async def read_quietly(identities, participant_id):
    with contextlib.suppress(StoreUnavailable):
        await identities.read(participant_id)
