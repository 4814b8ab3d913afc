"""The web page over real bots on files: what it shows, what it is told as it happens, what it does."""

from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor import open_bot
from botvisor.fleet.watch import Watch
from botvisor.web.stream import Streams

from .fleet import in_memory, settings_in
from .web_rig import site, until_answer

ROOM = "https://example.test/room"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@asynccontextmanager
async def served(folder, bot_id="ada", **more):
    """A page, and a bot that handles its messages unless it is told to wait; both on files."""
    settings = settings_in(folder)
    async with (
        open_bot(room_url=ROOM, bot_id=bot_id, settings=settings) as bot,
        site(settings, **more) as page,
    ):
        await until_answer(lambda: page.get("/api/1/fleet"), lambda answer: bot_id in answer.text)
        yield bot, page


async def read(bot):
    async for _ in bot.inbox:
        pass


async def test_the_fleet_and_a_bot_are_shown(tmp_path):
    async with served(tmp_path) as (bot, page):
        bot.participants.add("ann")
        fleet = await until_answer(lambda: page.get("/api/1/fleet"), lambda answer: "ann" in answer.text)
        (row,) = fleet.json["bots"]
        assert (row["bot_id"], row["room_url"], row["participants"]) == ("ada", ROOM, ["ann"])
        assert (row["status"], row["backend"], row["as_of"]) == ("healthy", "file", None)
        about = (await page.get("/api/1/bot?id=ada")).json
        assert about["summary"].startswith("ada (process ")
        assert {len(column) for column in about["history"].values()} == {len(about["history"]["at"])}
        html = (await page.get("/")).text
        assert '<a href="/bot?id=ada">' in html
        assert ROOM in (await page.get("/bot?id=ada")).text


async def test_a_bot_that_nobody_knows_is_told_so(tmp_path):
    async with site(settings_in(tmp_path)) as page:
        for bot_id in ("nobody", "%3Cscript%3E", "a/b", "x" * 500):
            answer = await page.get(f"/bot?id={bot_id}")
            assert answer.status == 404
            assert "Nobody knows a bot" in answer.text
            assert (await page.get(f"/api/1/bot?id={bot_id}")).json["bot"] is None
        assert (await page.get("/bot")).status == 400
        assert (await page.get("/nowhere")).status == 404
        for name in ("..%2fapp.py", "%2e%2e/app.py", "__init__.py", "nothing.js"):
            assert (await page.get(f"/static/{name}")).status == 404


async def test_browsers_are_told_what_changes(tmp_path):
    async with served(tmp_path) as (bot, page), page.stream("/api/1/fleet/events") as heard:
        name, first = await heard()
        assert (name, first["reset"], len(first["bots"])) == ("fleet", True, 1)
        bot.participants.add("ann")
        news = first
        while not news["bots"] or news["bots"][0]["participants"] != ["ann"]:
            name, news = await heard()
            assert (name, news["reset"]) == ("fleet", False)


async def test_a_message_is_followed_until_it_is_handled(tmp_path):
    async with served(tmp_path) as (bot, page), page.stream("/api/1/bot/events?id=ada") as heard:
        answer = await page.post("/api/1/messages", {"bot_id": "ada", "text": "wrap up", "mode": "immediate"})
        assert (answer.status, answer.json["state"], answer.json["note"]) == (201, "stored", "")
        async with anyio.create_task_group() as group:
            group.start_soon(read, bot)
            receipt = {"state": ""}
            while receipt["state"] != "handled":
                sent = (await heard())[1]["sent"]
                receipt = sent[0] if sent else receipt
            group.cancel_scope.cancel()
        assert (receipt["id"], receipt["text"], receipt["bot_id"]) == (answer.json["id"], "wrap up", "ada")
        assert receipt["stored_ms"] <= receipt["delivered_ms"] <= receipt["handled_ms"]


async def test_what_waits_for_a_bot_is_shown(tmp_path):
    async with served(tmp_path) as (_, page):
        for text in ("first", "second"):
            assert (await page.post("/api/1/messages", {"bot_id": "ada", "text": text})).status == 201

        def is_shown(answer):
            return [letter["state"] for letter in answer.json["messages"]] == ["claimed", "queued"]

        about = await until_answer(lambda: page.get("/api/1/bot?id=ada"), is_shown)
        assert [(letter["text"], letter["sender"]) for letter in about.json["messages"]] == [
            ("first", "botvisor web"),
            ("second", "botvisor web"),
        ]
        assert "second" in (await page.get("/bot?id=ada")).text


BAD = (
    {},
    [],
    {"bot_id": "ada"},
    {"bot_id": "ada", "text": " "},
    {"bot_id": "ada", "text": 1},
    {"bot_id": "a/b", "text": "x"},
    {"bot_id": "ada", "text": "x", "mode": "later"},
    {"bot_id": "ada", "text": "x", "more": 1},
)


async def test_what_cannot_be_sent_is_refused_in_words(tmp_path):
    async with site(settings_in(tmp_path)) as page:
        for document in BAD:
            answer = await page.post("/api/1/messages", document)
            assert (answer.status, list(answer.json)) == (400, ["error"]), document


async def test_a_body_that_is_too_large_is_not_read_to_its_end(tmp_path):
    async with site(settings_in(tmp_path)) as page:
        answer = await page.post("/api/1/control", {"bot_id": "ada", "command": "x" * 10_000})
        assert (answer.status, list(answer.json)) == (413, ["error"])
        too_much = await page.post("/api/1/messages", {"bot_id": "ada", "text": "x" * (1024 * 1024)})
        assert (too_much.status, "more than 1048576" in too_much.json["error"]) == (400, True)


async def test_a_bot_is_drained_stopped_and_asked_for_its_stack(tmp_path):
    async with served(tmp_path) as (bot, page):

        async def order(command):
            return (await page.post("/api/1/control", {"bot_id": "ada", "command": command})).status

        assert await order("restart") == 400
        assert await order("stack") == 202
        await until_answer(lambda: page.get("/api/1/bot?id=ada"), lambda answer: answer.json["stacks"])
        assert await order("drain") == 202
        await until_answer(lambda: page.get("/api/1/fleet"), lambda answer: '"draining"' in answer.text)
        assert await order("stop") == 202
        with anyio.fail_after(10):
            await bot.wait_stopping()


async def test_a_slow_browser_is_shown_the_newest_state_and_costs_no_memory():
    async with in_memory() as fleet:
        handle = await fleet.start_bot(lambda bot: bot.wait_stopping(), bot_id="ada")
        watch = Watch(fleet.client, fleet.supervisor.settings)
        await watch.look()
        events = Streams(watch)._fleet()
        assert b'"reset":true' in await anext(events)
        for number in range(50):  # it takes nothing meanwhile
            handle.bot.participants.add(f"ann-{number}")
            await anyio.sleep(0.002)
            await watch.look()
        assert b'"participant_count":50' in await anext(events)
        watch.close()
        assert [event async for event in events] == []


async def test_no_more_streams_are_open_than_there_may_be(tmp_path):
    async with in_memory() as fleet:
        streams = Streams(Watch(fleet.client, fleet.supervisor.settings), limit=1)
        first = streams._counted(streams._fleet())
        await anext(first)
        assert streams.fleet() is None
        assert streams.bot("ada") is None
        await first.aclose()
        assert streams.fleet() is not None


async def test_a_browser_that_leaves_is_forgotten(tmp_path):
    async with served(tmp_path) as (_, page):
        for _ in range(210):  # more than may be open at once
            async with page.stream("/api/1/fleet/events") as heard:
                await heard.connection.aclose()
        async with page.stream("/api/1/fleet/events") as heard:
            assert (await heard())[0] == "fleet"


async def test_it_ends_at_once_though_browsers_listen(tmp_path):
    async with served(tmp_path) as (_, page):
        stack = page.stream("/api/1/bot/events?id=ada")
        heard = await stack.__aenter__()
        await heard()
        began = anyio.current_time()
    assert anyio.current_time() - began < 2.5
    await heard.connection.aclose()
