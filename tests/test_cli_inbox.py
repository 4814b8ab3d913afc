"""`botvisor inbox`, `identities`, and `send` to rooms and to all: on files, with bots in this process."""

import json
from functools import partial

import anyio
import pytest

from botvisor import open_bot
from botvisor.actors.backend.files import FileStore
from botvisor.process import own
from botvisor.store import AcquireLease, BuryMessage, NextMessage, PushMessage, Queue
from botvisor.wire import encode_id

from . import cli_rig, redis_world
from .fleet import settings_in

command = cli_rig.command
anyio_backend = redis_world.one_loop

ROOM = "https://example.test/room"


@pytest.fixture
async def run(command):
    """Runs the command in a thread, beside the bots on this test's event loop."""
    return lambda *arguments, **env: anyio.to_thread.run_sync(partial(command, *arguments, **env))


@pytest.fixture
async def fleet(tmp_path):
    """Two bots of one room and one of another, which read their inboxes."""
    settings = settings_in(tmp_path)
    seen = {}

    async def read(bot):
        async for message in bot.inbox:
            seen.setdefault(bot.id, []).append(message.text)

    async with anyio.create_task_group() as group:
        bots = {}
        stop = anyio.Event()

        async def live(bot_id, room, *, task_status):
            async with open_bot(room_url=room, bot_id=bot_id, settings=settings) as bot:
                bots[bot_id] = bot
                group.start_soon(read, bot)
                task_status.started()
                await stop.wait()

        for bot_id, room in (("ada", ROOM), ("bob", ROOM + "2")):
            await group.start(live, bot_id, room)
        yield seen
        stop.set()
        group.cancel_scope.cancel()


async def test_a_receipt_tells_each_step_and_its_time(fleet, run):
    code, out, err = await run("send", "ada", "hello", "--wait", "5")
    assert (code, err) == (0, "")
    steps = out.split(" ", 1)[1]
    assert steps.startswith("stored after ")
    assert " ms → delivered after " in steps
    assert " ms → handled after " in steps
    code, out, _ = await run("send", "ada", "hello", "--wait", "5", "--json")
    receipt = json.loads(out)
    assert set(receipt) == {
        "id", "bot_id", "room_url", "state", "where", "stored_ms", "delivered_ms", "handled_ms"
    }  # fmt: skip
    assert (receipt["bot_id"], receipt["room_url"], receipt["state"]) == ("ada", None, "handled")
    assert receipt["stored_ms"] <= receipt["delivered_ms"] <= receipt["handled_ms"]


async def test_a_message_goes_to_a_rooms_bot_or_to_every_bot(fleet, run):
    code, out, _ = await run("send", "--room", f"{ROOM}2/", "you", "--wait", "5", "--json")
    assert (code, json.loads(out)["room_url"]) == (0, f"{ROOM}2/")
    assert fleet == {"bob": ["you"]}
    code, out, _ = await run("send", "--all", "all of you", "--wait", "5", "--json")
    receipts = {each["bot_id"]: each["state"] for each in json.loads(out)}
    assert (code, receipts) == (0, {"ada": "handled", "bob": "handled"})
    assert fleet == {"ada": ["all of you"], "bob": ["you", "all of you"]}
    code, out, _ = await run("send", "--all", "and again")
    assert (code, [line.split(":")[0] for line in out.splitlines()]) == (0, ["ada", "bob"])


async def test_ps_tells_widely_what_each_backend_was_asked_for(fleet, run):
    out = (await run("ps", "--wide"))[1]
    assert "OPERATIONS" in out
    assert " ops, p50 " in out
    (row, _) = json.loads((await run("ps", "--json"))[1])
    assert row["backends"]["file"]["operations"] > 0
    assert set(row["backends"]["file"]) == {
        "operations", "errors", "p50_ms", "p99_ms", "retries", "fallbacks"
    }  # fmt: skip


async def test_to_all_of_nobody_is_nobody(run):
    code, out, err = await run("send", "--all", "hello", "--json")
    assert (code, out, "no live bots" in err) == (0, "[]\n", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["send", "--all", "ada", "hello"],
        ["send", "--room", ROOM],
        ["send", "--room", "ada", "hello"],
        ["send", "--room", ROOM, "--all", "hello"],
        ["send", "ada", "hello", "you"],
        ["inbox", "ada", "requeue"],
        ["inbox", "ada", "drop", "m", "--dead"],
        ["inbox", "ada", "--dead"],
        ["inbox", "ada", "eat", "m"],
        ["ps", "--status", "ill"],
        ["ps", "--al"],
    ],
)
async def test_a_wrong_command_line_is_told(run, arguments):
    code, out, err = await run(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("botvisor")


async def test_what_waits_is_shown_and_dropped_by_its_id(run, tmp_path):
    for text in ("one", "two"):
        await run("send", "carl", text)
    older = tmp_path / "admin_message" / f"admin-{encode_id('carl')}-old.json"
    older.write_text('{"prompt": "three", "senderName": "\x1bBo"}'.replace("\x1b", "\\u001b"))
    older.chmod(0o600)
    shown = json.loads((await run("inbox", "carl", "--json"))[1])
    assert [(each["text"], each["state"], each["tries"]) for each in shown] == [
        ("one", "queued", 0),
        ("two", "queued", 0),
        ("three", "queued", 0),
    ]
    out = (await run("inbox", "carl"))[1]
    assert "\x1b" not in out
    assert all(word in out for word in ("ID", "STATE", "queued", "three"))
    code, out, err = await run("inbox", "carl", "requeue", shown[0]["id"])
    assert (code, out) == (1, "")
    assert "only dead letters are requeued" in err
    code, out, err = await run("inbox", "carl", "drop", shown[0]["id"], shown[2]["id"], "nothing")
    assert (code, out, err) == (1, "dropped 2 messages\n", "botvisor: carl has no message nothing\n")
    assert [each["text"] for each in json.loads((await run("inbox", "carl", "--json"))[1])] == ["two"]
    assert "nothing waits for dan" in (await run("inbox", "dan"))[1]


async def test_of_several_messages_with_one_id_each_can_be_named(run, tmp_path):
    store, queue = FileStore(settings_in(tmp_path)), Queue("bot", "carl")
    await store.execute([AcquireLease(queue, own("carl", "one"))])
    for text in ("one", "two"):
        push = PushMessage(queue, "m", json.dumps({"id": "m", "message": text}).encode())
        _, claim = await store.execute([push, NextMessage(queue, "one", "a", None)])
        assert await store.execute([BuryMessage(queue, "one", claim.token, "no good")]) == [None]
    shown = json.loads((await run("inbox", "carl", "--json"))[1])
    assert [(each["id"], each["text"], each["state"]) for each in shown] == [
        ("m", "one", "dead"), ("m", "two", "dead")
    ]  # fmt: skip
    handles = [each["handle"] for each in shown]
    table = (await run("inbox", "carl"))[1]
    assert all(handle in table for handle in handles)
    assert (await run("inbox", "carl", "requeue", handles[1]))[1:] == ("requeued 1 message\n", "")
    shown = json.loads((await run("inbox", "carl", "--json"))[1])
    assert {each["text"]: each["state"] for each in shown} == {"one": "dead", "two": "queued"}
    assert (await run("inbox", "carl", "drop", "m"))[1] == "dropped 2 messages\n"


async def test_who_is_known_in_a_room(run, tmp_path):
    async with open_bot(room_url=ROOM, bot_id="ada", settings=settings_in(tmp_path)) as bot:
        await bot.identities.write("user1", {"sessionUserName": "John", "age": 7})
    code, out, err = await run("identities", ROOM)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split()[:3] == ["user1", "John", "-"]
    (found,) = json.loads((await run("identities", ROOM, "--json"))[1])
    assert (found["participant_id"], found["age"]) == ("user1", 7)
    assert (await run("identities", ROOM + "3", "--json"))[1] == "[]\n"


async def test_doctor_finds_directories_that_are_not_private(run, tmp_path):
    code, out, err = await run("doctor", "--json")
    assert (code, err, {each["level"] for each in json.loads(out)}) == (0, "", {"ok"})
    folder = tmp_path / "heartbeat"
    folder.mkdir()
    folder.chmod(0o777)
    code, out, _ = await run("doctor")
    assert code == 1
    assert f"→ directory: run: chmod 700 {folder}" in out
