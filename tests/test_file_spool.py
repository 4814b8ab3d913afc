"""What writers leave on files: heartbeats, and messages of older programs."""

import hashlib
import json
import os
import time

import pytest

from botvisor.actors.backend import spool_index
from botvisor.actors.backend.directory import Directory
from botvisor.process import boot_time_s
from botvisor.store import (
    Done,
    ListHeartbeats,
    ReadHeartbeat,
    ReadReceipt,
    ReturnMessage,
)

from .file_rig import GOOD, QUEUE, beat


async def test_a_damaged_heartbeat_is_left_out_and_told_once(files):
    for bot_id in ("a", "b"):
        await files.ask(beat(bot_id))
    (files.heartbeats / "a.json").write_bytes(b'{"pid": ')
    os.mkfifo(files.heartbeats / "c.json")
    for _ in range(3):
        assert [heartbeat.bot_id for heartbeat in await files.ask(ListHeartbeats())] == ["b"]
    assert await files.ask(ReadHeartbeat("a")) is None
    assert [level for level, _ in files.told] == ["WARNING", "WARNING"]
    await files.ask(beat("a"))
    assert (await files.ask(ReadHeartbeat("a"))).bot_id == "a"


async def test_a_heartbeat_file_is_one_json_object_with_plain_values(files):
    await files.ask(beat())
    found = json.loads((files.heartbeats / "4711.json").read_bytes())
    assert (found["pid"], found["participants"], found["bot_id"]) == (4711, [], "4711")


# What older writers leave


async def test_a_file_without_an_id_is_known_by_its_name(files):
    files.drop("admin-4711-x.json", age_s=1)
    await files.lease()
    claim = await files.take()
    assert claim.name == "admin-4711-x.json"
    await files.take(Done(claim.token, claim.name))
    assert await files.ask(ReadReceipt(QUEUE, "admin-4711-x.json")) == "handled"
    files.drop("admin-4711-x.json")
    assert (await files.take()).done


async def test_files_come_in_the_order_of_their_times_then_names(files):
    for name, age_s in (("c", 10), ("a", 20), ("b", 30), ("z", 30)):
        files.drop(f"admin-4711-{name}.json", age_s=age_s)
    then = time.time() - 30
    for name in ("b", "z"):
        os.utime(files.admin / f"admin-4711-{name}.json", (then, then))
    await files.lease()
    seen, done = [], None
    while (claim := await files.take(done)) is not None:
        seen.append(claim.name.removeprefix("admin-4711-"))
        done = Done(claim.token, claim.name)
    assert seen == ["b.json", "z.json", "a.json", "c.json"]


async def test_a_file_that_comes_later_is_found_without_a_doorbell(files):
    await files.lease()
    for number in range(3):
        assert await files.take() is None
        files.drop(f"admin-4711-{number}.json")
        claim = await files.take()
        assert claim.name == f"admin-4711-{number}.json"
        await files.take(Done(claim.token, claim.name))


async def test_a_file_is_found_though_the_directorys_coarse_clock_stood_still(files):
    files.admin.mkdir(mode=0o700)
    await files.lease()
    assert await files.take() is None
    stamp = files.admin.stat().st_mtime_ns
    files.drop("admin-4711-a.json")
    os.utime(files.admin, ns=(stamp, stamp))
    assert await files.take() is not None


async def test_more_files_than_the_index_holds_come_in_order(files, monkeypatch):
    monkeypatch.setattr(spool_index, "_QUEUE_LIMIT", 10)
    names = [f"admin-4711-{number:03}.json" for number in range(55)]
    for number, name in enumerate(names):
        files.drop(name, age_s=100 - number)
    await files.lease()
    files.store.spool.index.fed = True  # so that only the index itself knows that there are more
    seen, done = [], None
    while (claim := await files.take(done)) is not None:
        seen.append(claim.name)
        done = Done(claim.token, claim.name)
    assert seen == names


@pytest.mark.parametrize("name", ["admin-4711.json", "admin-4711-x.tmp", "xadmin-4711-x.json", "4711-x.json"])
async def test_other_names_are_nobodys_messages(files, name):
    files.drop(name)
    await files.lease()
    assert await files.take() is None
    assert (files.admin / name).exists()


async def test_a_name_too_long_to_be_claimed_as_it_is_is_claimed_under_a_hash(files):
    name = "admin-4711-" + "x" * (255 - 16) + ".json"
    files.drop(name)
    await files.lease()
    claim = await files.take()
    assert claim.raw == GOOD
    assert claim.name == f"admin-4711-{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
    again = await files.take(attempt="second")
    assert (again.token, again.tries) == (claim.token, 2)
    await files.take(Done(claim.token, claim.name))
    assert files.names(".claim/4711") == []


async def test_a_name_that_is_no_utf_8_is_claimed_under_a_hash(files):
    files.admin.mkdir(mode=0o700)
    (files.admin / os.fsdecode(b"admin-4711-\xff.json")).write_bytes(GOOD)
    await files.lease()
    claim = await files.take()
    claim.name.encode()
    await files.take(Done(claim.token, claim.name))
    assert len(list(files.admin.glob(".done/4711/*/*"))) == 1


async def test_a_file_of_a_used_name_is_another_message_to_acknowledge(files):
    files.drop("admin-4711-x.json")
    await files.lease()
    first = await files.take()
    await files.take(Done(first.token, "an id that this file does not have"))
    files.drop("admin-4711-x.json", b'{"message": "new"}')
    second = await files.take()
    assert second.raw == b'{"message": "new"}'
    assert await files.take(Done(first.token, "an id that this file does not have")) == second


async def test_a_file_written_under_the_name_of_a_returned_one_is_not_lost(files):
    files.drop("admin-4711-x.json", b'{"message": "old"}', age_s=5)
    await files.lease()
    claim = await files.take()
    files.drop("admin-4711-x.json", b'{"message": "new"}')
    await files.ask(ReturnMessage(QUEUE, "one", claim.token))
    old = await files.take()
    new = await files.take(Done(old.token, "old"))
    assert [json.loads(each.raw)["message"] for each in (old, new)] == ["old", "new"]


async def test_a_file_older_than_the_boot_may_have_been_shown_before(files):
    files.drop("admin-4711-x.json", age_s=time.time() - boot_time_s() + 60)
    files.drop("admin-4711-y.json")
    await files.lease()
    first = await files.take()
    second = await files.take(Done(first.token, first.name))
    assert (first.doubtful, second.doubtful) == (True, False)


def test_a_file_that_another_takes_while_its_new_place_is_made_was_not_there(tmp_path):
    class TakenMeanwhile(Directory):
        def ready(self):
            super().ready()
            (tmp_path / "m").unlink()

    (tmp_path / "m").touch()
    assert not Directory(tmp_path).move("m", TakenMeanwhile(tmp_path / "new"), "m")
