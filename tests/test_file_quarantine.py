"""Files that are no messages, dead letters, and their limits."""

import json
import time

import anyio
import pytest

from botvisor.process import own
from botvisor.store import (
    BuryMessage,
    ListMessages,
    Queue,
    ReadReceipt,
)
from botvisor.wire import (
    DEAD_LIMIT,
    MAX_MESSAGE_BYTES,
    MAX_TRIES,
    QUARANTINE_LIMIT,
)

from .file_rig import CUT, GOOD, QUEUE, age


async def test_a_truncated_file_rests_until_it_is_complete(files):
    path = files.drop("admin-4711-a.json", CUT)
    await files.lease()
    assert await files.take() is None
    assert path.exists()
    path.write_bytes(GOOD)
    files.store.spool.index.note(path.name)
    assert (await files.take()).name == "admin-4711-a.json"
    assert files.told == []


async def test_a_truncated_file_blocks_nothing_behind_it(files):
    files.drop("admin-4711-a.json", CUT)
    files.drop("admin-4711-b.json")
    await files.lease()
    assert (await files.take()).name == "admin-4711-b.json"


@pytest.mark.parametrize(
    "raw",
    [CUT, b"", b"\xff", b"[1]", b'{"a":' * 10_000, b'{"a": 1' + b"0" * 5000 + b"}x"],
    ids=["cut", "empty", "no text", "no object", "too deep", "no end"],
)
async def test_a_file_that_rested_two_seconds_and_is_no_message_is_quarantined(files, raw):
    files.drop("admin-4711-a.json", raw, age_s=2.5)
    await files.lease()
    assert await files.take() is None
    (name,) = files.names(".bad")
    assert name.endswith("-admin-4711-a.json")
    assert (files.admin / ".bad" / name).read_bytes() == raw
    assert files.told[0][0] == "WARNING"
    assert "admin-4711-a.json" in files.told[0][1]


async def test_a_truncated_file_comes_up_again_by_itself(files):
    path = files.drop("admin-4711-a.json", CUT)
    await files.lease()
    await files.take()
    index = files.store.spool.index
    assert index.due_prefixes(index.next_due() - 0.01) == []
    assert index.next_due() < time.monotonic() + 1
    assert index.due_prefixes(time.monotonic() + 1) == ["admin-4711-"]
    age(path, 3)  # as if two seconds had passed
    with anyio.fail_after(5):
        while not files.names(".bad"):
            assert await files.take() is None
            await anyio.sleep(0.01)


async def test_quarantine_keeps_the_newest_hundred(files):
    await files.lease()
    for number in range(QUARANTINE_LIMIT + 5):
        files.drop(f"admin-4711-{number:03}.json", CUT, age_s=1000 - number)
    assert await files.take() is None
    names = files.names(".bad")
    assert len(names) == QUARANTINE_LIMIT
    assert names[0].endswith("-005.json")


async def test_a_file_over_the_limit_is_a_dead_letter_that_was_never_read(files):
    big = b'"' + b"x" * MAX_MESSAGE_BYTES + b'"'
    files.drop("admin-4711-a.json", big, age_s=1)
    files.drop("admin-4711-b.json")
    await files.lease()
    assert (await files.take()).name == "admin-4711-b.json"
    assert await files.ask(ReadReceipt(QUEUE, "admin-4711-a.json")) == "dead"
    letter = (await files.ask(ListMessages(QUEUE)))[0]
    assert (letter.state, letter.raw, letter.name) == ("dead", b"", "admin-4711-a.json")
    assert str(MAX_MESSAGE_BYTES) in letter.reason
    (unread,) = [name for name in files.names(".dead") if name.endswith(".unread")]
    assert (files.admin / ".dead" / unread).stat().st_size == len(big)


async def test_a_dead_letter_is_a_json_object_that_says_why(files):
    await files.push("m", b'{"id":"m","message":"poison"}')
    await files.lease()
    for number in range(MAX_TRIES + 1):
        await files.take(attempt=f"a{number}")
    (name,) = files.names(".dead")
    letter = json.loads((files.admin / ".dead" / name).read_bytes())
    assert letter["message"] == {"id": "m", "message": "poison"}
    assert (letter["v"], letter["queue"], letter["tries"]) == (1, "bot 4711", MAX_TRIES)
    assert "tries" in letter["reason"]
    assert letter["at"] == pytest.approx(time.time(), abs=10)


async def test_dead_letters_are_limited_and_the_oldest_go(files):
    folder = files.admin / ".dead"
    folder.mkdir(mode=0o700, parents=True)
    for number in range(DEAD_LIMIT):
        path = folder / f"4711.{number:032x}.{0:032x}.json"
        path.write_bytes(b"{}")
        age(path, 5000 - number)
    await files.push("m")
    await files.lease()
    await files.ask(BuryMessage(QUEUE, "one", (await files.take()).token, "no"))
    names = files.names(".dead")
    assert len(names) == DEAD_LIMIT
    assert f"4711.{0:032x}.{0:032x}.json" not in names
    assert await files.ask(ReadReceipt(QUEUE, "m")) == "unknown"


async def test_letters_of_bots_with_similar_ids_are_kept_apart(files):
    for bot_id in ("a", "a.b"):
        queue = Queue("bot", bot_id)
        await files.push("m", queue=queue)
        await files.lease(queue, own(bot_id, "one"))
        claim = await files.take(queue=queue)
        await files.ask(BuryMessage(queue, "one", claim.token, f"for {bot_id}"))
    assert [letter.reason for letter in await files.ask(ListMessages(Queue("bot", "a")))] == ["for a"]
