import json

import anyio
import msgspec
import pytest

from botvisor import assembly
from botvisor.config import Settings
from botvisor.embed import supervised
from botvisor.errors import MalformedMessage, StartFailed, StoreUnavailable
from botvisor.heartbeat import Heartbeat, from_hash, from_json, to_hash, to_json
from botvisor.restart import Policy
from botvisor.store import ReadHeartbeat, WriteHeartbeat
from botvisor.stores import new_supervisor
from botvisor.testing import MemoryStore, crash

from .bot_rig import ROOM, Reader, bot_on, logged, supervisor_on

FULL = Heartbeat(
    pid=12,
    room_url="https://example.test/room",
    participants=("one", "zwölf"),
    timestamp="2026-01-02T03:04:05.678+00:00",
    bot_id="bot",
    host="host",
    boot_id="boot",
    pid_ns="pid:[1]",
    start_ticks=99,
    instance="abc",
    seq=7,
    status="healthy",
    health={"lag_ms": 1.5, "resting": []},
    epitaph={"reason": "the end"},
)


class TestARecord:
    def test_reads_back_from_a_hash_as_it_was_written(self):
        assert from_hash(to_hash(FULL)) == FULL

    def test_reads_back_from_a_file_as_it_was_written(self):
        assert from_json(to_json(to_hash(FULL))) == FULL

    def test_is_one_plain_object_in_a_file(self):
        document = json.loads(to_json(to_hash(FULL)))
        assert document["participants"] == ["one", "zwölf"]
        assert document["health"] == {"lag_ms": 1.5, "resting": []}

    def test_of_an_older_bot_has_defaults_for_what_is_missing(self):
        older = {"pid": b"12", "room_url": b"r", "participants": b'["one"]', "timestamp": b"t"}
        assert from_hash(older) == Heartbeat(pid=12, room_url="r", participants=("one",), timestamp="t")

    def test_of_a_later_version_may_have_more_fields(self):
        assert from_hash({**to_hash(FULL), "mood": b"good"}) == FULL

    @pytest.mark.parametrize(
        "change", [{"pid": b"twelve"}, {"participants": b"{}"}, {"host": b"\xff"}, {"health": b"[" * 9_999}]
    )
    def test_that_cannot_be_read_is_malformed(self, change):
        with pytest.raises(MalformedMessage, match="heartbeat"):
            from_hash({**to_hash(FULL), **change})

    @pytest.mark.parametrize("raw", [b"", b"[]", b'{"pid": 1}', b'{"pid": "\xff"}', b"[" * 9_999])
    def test_in_a_file_that_cannot_be_read_is_malformed(self, raw):
        with pytest.raises(MalformedMessage, match="heartbeat"):
            from_json(raw)

    @pytest.mark.parametrize("change", [{"room_url": "\ud800"}, {"health": {"a": object()}}])
    def test_that_cannot_be_written_is_an_error(self, change):
        with pytest.raises((UnicodeEncodeError, TypeError)):
            to_hash(msgspec.structs.replace(FULL, **change))


@pytest.mark.virtual_time
class TestABot:
    async def test_writes_a_heartbeat_before_main_begins(self):
        store, seen = MemoryStore(), []

        async def main():
            seen.extend(await store.execute([ReadHeartbeat("bot")]))

        async with bot_on(store, main, room_url=ROOM) as rig:
            await rig.handle.wait()
        assert [(beat.bot_id, beat.room_url, beat.status, beat.seq) for beat in seen] == [
            ("bot", ROOM, "starting", 1)
        ]

    async def test_beats_in_every_interval(self):
        async with bot_on(MemoryStore(), Reader(), settings=Settings(heartbeat_interval_s=7)) as rig:
            await anyio.sleep(0.1)
            before = (await rig.client.heartbeat("bot")).seq
            await anyio.sleep(70.5)
            assert (await rig.client.heartbeat("bot")).seq == before + 10

    async def test_tells_a_change_at_once(self):
        async with bot_on(MemoryStore(), Reader()) as rig:
            rig.bot.participants.add("one")
            await anyio.sleep(0.01)
            assert (await rig.client.heartbeat("bot")).participants == ("one",)

    async def test_tells_many_changes_in_few_heartbeats(self):
        async with bot_on(MemoryStore(), Reader()) as rig:
            await anyio.sleep(0.1)
            before = rig.link.counts["WriteHeartbeat"]
            rig.bot.participants.update(str(number) for number in range(100))
            await anyio.sleep(1)
            assert rig.link.counts["WriteHeartbeat"] == before + 1
            assert len((await rig.client.heartbeat("bot")).participants) == 100

    async def test_tells_what_changed_while_a_heartbeat_was_on_its_way(self):
        store = MemoryStore()
        async with bot_on(store, Reader()) as rig:
            store.slow(1)
            rig.bot.participants.add("one")
            await anyio.sleep(0.5)
            rig.bot.participants.add("two")
            await anyio.sleep(3)
            store.heal()
            assert (await rig.client.heartbeat("bot")).participants == ("one", "two")

    async def test_beats_together_with_the_other_bots_of_its_process(self):
        store = MemoryStore()
        async with supervisor_on(store) as (supervisor, link):
            await supervisor.start_bot(Reader(), bot_id="one")
            await anyio.sleep(3)
            await supervisor.start_bot(Reader(), bot_id="two")
            together = []

            async def pass_on(moment, commands):
                beats = [c for c in commands if type(c).__name__ == "WriteHeartbeat"]
                together.extend([len(beats)] if beats and moment == "asked" else [])

            await anyio.sleep(1)
            link.pass_on = pass_on
            await anyio.sleep(60)
            link.pass_on = None
        assert together == [2] * 6

    async def test_leaves_last_words(self):
        store = MemoryStore()
        async with bot_on(store, Reader()) as rig:
            await rig.handle.stop("the end of the test")
            beat = await rig.client.heartbeat("bot")
        assert beat.status == "stopped"
        assert (beat.epitaph["reason"], beat.epitaph["exit"]) == ("the end of the test", "returned")

    async def test_says_in_its_heartbeats_how_it_is(self):
        main, statuses = Reader(), []
        async with bot_on(MemoryStore(), main, policy=Policy(base=5, cap=5, jitter=0)) as rig:

            async def note():
                await anyio.sleep(0.1)
                statuses.append((await rig.client.heartbeat("bot")).status)

            await note()
            crash(rig.bot, "identity")
            await anyio.sleep(0.1)
            rig.bot.participants.add("one")  # the next heartbeat
            await note()
            await anyio.sleep(20)
            await note()
            await rig.client.send("bot", "wait")
            await main.handling.wait()
            rig.handle.request_stop("the test")
            await note()
            main.go_on.set()
            await rig.handle.finished.wait()
            await note()
        assert statuses == ["healthy", "degraded", "healthy", "draining", "stopped"]

    async def test_beats_on_after_its_actor_crashed(self):
        async with bot_on(MemoryStore(), Reader()) as rig:
            before = (await rig.client.heartbeat("bot")).seq
            crash(rig.bot, "heartbeat")
            rig.bot.participants.add("one")
            await anyio.sleep(30)
            after = await rig.client.heartbeat("bot")
            assert after.seq >= before + 3
            assert after.participants == ("one",)
            assert after.health["restarts"] == 1

    @pytest.mark.parametrize("fault", ["fails", "hangs"])
    async def test_says_once_that_no_heartbeat_can_be_written_and_goes_on(self, fault):
        store = MemoryStore()
        with logged() as lines:
            async with bot_on(store, Reader()) as rig:
                await anyio.sleep(1)
                del lines[:]
                store.hang() if fault == "hangs" else store.fail_with(StoreUnavailable("no disk"))
                await anyio.sleep(65)
                told = [line for line in lines if "-heartbeat]" in line]
                store.heal()
                await anyio.sleep(11)
                assert (await rig.client.heartbeat("bot")).status == "healthy"
        assert len(told) == 1
        assert told[0].startswith("ERROR [memory-heartbeat] Could not send the heartbeat for bot bot: ")
        assert "INFO [memory-heartbeat] Sent heartbeat for bot bot" in lines

    async def test_starts_while_the_store_is_away(self):
        store = MemoryStore()
        store.hang()
        async with bot_on(store, Reader()) as rig:
            store.heal()
            await anyio.sleep(11)
            assert (await rig.client.heartbeat("bot")).status == "healthy"


@pytest.mark.virtual_time
async def test_very_many_bots_of_a_process_do_not_beat_all_at_one_time(monkeypatch):
    monkeypatch.setattr(assembly, "_BEAT_TOGETHER", 2)
    store, beats = MemoryStore(), {}

    async def note(when, commands):
        for command in commands:
            if when == "asked" and isinstance(command, WriteHeartbeat):
                beats.setdefault(command.bot_id, []).append(anyio.current_time() % 10)

    async with supervisor_on(store) as (supervisor, link):
        for number in range(4):
            await supervisor.start_bot(Reader(), bot_id=f"b{number}")
        await anyio.sleep(10)
        beats.clear()
        link.pass_on = note
        await anyio.sleep(20)
        link.pass_on = None
    assert beats == {
        bot_id: pytest.approx([phase_s, phase_s], abs=0.01)
        for bot_id, phase_s in (("b0", 0), ("b1", 0), ("b2", 0.5), ("b3", 0.5))
    }


async def test_a_bot_whose_heartbeats_others_could_change_does_not_start(tmp_path):
    heartbeats = tmp_path / "heartbeats"
    heartbeats.mkdir()
    heartbeats.chmod(0o777)
    settings = Settings(
        admin_message_dir=tmp_path / "admin", heartbeat_dir=heartbeats, identity_dir=tmp_path / "identity"
    )
    supervisor = new_supervisor(settings)
    async with supervised(supervisor):
        with pytest.raises(StartFailed, match="bot/heartbeat did not start: UnsafeDirectory"):
            await supervisor.start_bot(Reader(), bot_id="bot")
        heartbeats.chmod(0o700)
        handle = await supervisor.start_bot(Reader(), bot_id="bot")
        await handle.stop("the test")
