"""The web page while Redis is away: it shows what it last knew, as of when, and says what it cannot do."""

import re

import pytest

from botvisor import open_bot

from . import redis_bots, redis_server
from .web_rig import site, until_answer

servers = redis_server.servers
place = redis_bots.place

ROOM = "https://example.test/room"


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_it_stays_useful_while_redis_is_away(place):
    """One bot on this host, and one on another, which only Redis tells of."""
    # A Redis that has lost its memory knows of a bot again with the next heartbeat.
    here, there = (
        place.settings(folder=place.folder / name, heartbeat_interval_s=0.5) for name in ("here", "there")
    )
    async with (
        open_bot(room_url=ROOM, bot_id="here", settings=here),
        open_bot(room_url=ROOM, bot_id="there", settings=there),
        site(here) as page,
    ):

        async def fleet():
            return await page.get("/api/1/fleet")

        def shown(answer):
            return {bot["bot_id"]: bot for bot in answer.json["bots"]}

        def all_healthy(answer):
            return [bot["status"] for bot in shown(answer).values()] == ["healthy", "healthy"]

        await until_answer(fleet, all_healthy)
        place.server.kill()
        old = await until_answer(
            fleet, lambda answer: answer.json["away"] and shown(answer)["here"]["as_of"] is None, 20
        )
        assert old.json["as_of"] is not None
        assert shown(old)["there"]["as_of"] == old.json["as_of"]
        assert shown(old)["there"]["status"] == "healthy"  # as it was then: it is not lost because Redis is
        html = (await page.get("/")).text
        assert "Redis is away (" in html
        assert "as of" in html
        about = (await page.get("/api/1/bot?id=there")).json
        assert about["summary"].startswith("there (process ")
        assert re.search(r"As of \d\d:\d\d:\d\d: there \(process", (await page.get("/bot?id=there")).text)
        assert about["history"]["at"]
        sent = await page.post("/api/1/messages", {"bot_id": "there", "text": "later"})
        assert sent.status == 201
        assert sent.json["note"].startswith("only spool@")
        assert "(Redis" in sent.json["note"]
        await place.server.restart()
        back = await until_answer(
            fleet, lambda answer: answer.json["away"] is None and len(shown(answer)) == 2, 30
        )
        assert back.json["as_of"] is None
        assert {bot["as_of"] for bot in back.json["bots"]} == {None}


async def test_without_any_store_it_shows_the_last_fleet_and_says_what_failed(place):
    settings = place.settings(file_fallback=False)
    bots = place.settings(folder=place.folder / "bots")
    async with open_bot(room_url=ROOM, bot_id="ada", settings=bots), site(settings) as page:
        fleet = "/api/1/fleet"
        await until_answer(lambda: page.get(fleet), lambda answer: len(answer.json["bots"]) == 1)
        place.server.kill()
        old = (await until_answer(lambda: page.get(fleet), lambda answer: answer.json["problem"], 20)).json
        assert old["as_of"] == old["bots"][0]["as_of"]
        assert "The bots cannot be read" in (await page.get("/")).text
        about = (await page.get("/api/1/bot?id=ada")).json
        assert about["bot"]["status"] == "healthy"
        assert about["messages_problem"]
        sent = await page.post("/api/1/messages", {"bot_id": "ada", "text": "x"})
        assert sent.status == 503
        assert sent.json["error"].startswith("the message for ada was not sent: ")
        told = await page.post("/api/1/control", {"bot_id": "ada", "command": "stop"})
        assert (told.status, list(told.json)) == (503, ["error"])
