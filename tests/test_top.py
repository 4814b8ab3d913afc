"""`botvisor top`: the fleet live on a terminal, what its keys do, and when it does not start."""

import anyio
import pytest

from botvisor import Settings, open_bot, open_client
from botvisor.cli.top_table import FleetTable
from botvisor.fleet.watch import Watch

from .bot_rig import Reader
from .fleet import ROOM, in_memory, settings_in
from .top_rig import Beats, beat, lines_of, top

SETTINGS = Settings()


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_bots_are_shown_as_they_come_and_go(tmp_path):
    settings = settings_in(tmp_path)
    async with open_client(settings) as client, top(client, settings) as shown:
        await shown.until("0 live", "no live bots")
        async with open_bot(room_url=ROOM, bot_id="ada", settings=settings) as bot:
            bot.participants.add("ann")
            screen = await shown.until("1 live: 1 healthy", "ada")
            assert "example.test/room" in screen
            assert "▁" in screen
        await shown.until("0 live; 1 ended", "no live bots")
        await shown.press("a")
        await shown.until("ada", "stopped")


async def test_a_message_and_its_receipt_as_it_comes(tmp_path):
    settings, reader = settings_in(tmp_path), Reader()
    async with (
        open_client(settings) as client,
        top(client, settings) as shown,
        open_bot(room_url=ROOM, bot_id="ada", settings=settings) as bot,
    ):
        await shown.until("ada", "healthy")
        await shown.press("m")
        await shown.until("A message to ada", "● queued")
        await shown.press("enter")  # there is nothing to be sent yet
        await shown.type("wait")
        await shown.press("tab")
        await shown.until("wait", "● immediate")
        await shown.press("enter")
        await shown.until("ada: stored after", "→ delivered after")
        async with anyio.create_task_group() as group:
            group.start_soon(reader, bot)
            await reader.handling.wait()
            assert "handled after" not in await shown.text()
            reader.go_on.set()
            await shown.until("→ handled after")
            group.cancel_scope.cancel()
        (message,) = reader.seen
        assert (message.text, message.mode, message.sender_name) == ("wait", "immediate", "botvisor top")
        await shown.press("enter")
        await shown.until("sent from here", "wait: stored after")
        await shown.press("m", "h", "escape")
        assert "A message to" not in await shown.text()


@pytest.mark.parametrize(("key", "question"), [("d", "Drain ada?"), ("x", "Stop ada?")])
async def test_a_bot_is_drained_or_stopped_once_somebody_is_sure(key, question):
    async with in_memory() as fleet, top(fleet.client, SETTINGS) as shown:
        handle = await fleet.start_bot(read_until_stopped, room_url=ROOM, bot_id="ada")
        await shown.until("ada", "healthy")
        for answer in ("n", "escape", "enter"):
            await shown.press(key)
            await shown.until(question)
            await shown.press(answer)
        await shown.press("y")  # the last answer was none, so the question is there still
        await shown.until("told ada to")
        with anyio.fail_after(10):
            await handle.wait()
        await shown.until("1 ended")
        await shown.press("a", key)
        await shown.until("ada has ended")


async def read_until_stopped(bot):
    await bot.wait_stopping()


async def test_the_stacks_of_a_bot_are_shown():
    async with in_memory() as fleet, top(fleet.client, SETTINGS, size=(120, 40)) as shown:
        await fleet.start_bot(read_until_stopped, room_url=ROOM, bot_id="ada")
        await shown.until("ada", "healthy")
        await shown.press("t")
        screen = await shown.until("where ada/main stands", "read_until_stopped")
        assert screen.startswith(" ada  healthy")
        await shown.press("escape")
        await shown.until("BOT")


async def test_why_a_bot_is_as_it_is():
    blocked = {
        "file": "/srv/bot.py", "line": 7, "function": "say", "for_s": 3.0, "stack": "  /srv/bot.py:7 in say"
    }  # fmt: skip
    client = Beats(beat("bo", status="blocked", health={"blocked": blocked}), beat("al"))
    async with top(client, SETTINGS) as shown:
        await shown.until("/srv/bot.py:7 in say")
        assert await shown.bots() == ["bo", "al"]
        await shown.press("enter")
        await shown.until("is blocked: its event loop", "the stack that blocks it")
        await shown.press("t")  # it has told already, and could not answer
        assert "was asked" not in await shown.text()
        client.beats = client.beats[1:]
        await shown.until("Nobody knows it any more.")
        await shown.press("m")
        await shown.until("no bot is chosen")


async def test_sorting_filtering_and_the_cursor():
    client = Beats(
        beat("al", lag_ms=5.0, host="east"), beat("bo", lag_ms=50.0), beat("cy", lag_ms=None, health={}),
        beat("di", lag_ms=0.5, status="degraded"), beat("ed", status="stopped", epitaph={"reason": "done"}),
    )  # fmt: skip
    async with top(client, SETTINGS) as shown:
        await shown.until("4 live: 1 degraded, 3 healthy; 1 ended")
        assert await shown.bots() == ["di", "al", "bo", "cy"]
        await shown.press("down", "down", "s")
        await shown.until("by LAG▼", "bo  far:4711")
        assert await shown.bots() == ["bo", "al", "di", "cy"]
        await shown.press("r")
        await shown.until("by LAG▲", "bo  far:4711")  # the cursor stays on its bot
        assert await shown.bots() == ["di", "al", "bo", "cy"]
        await shown.press("a")
        await shown.until("ed", "done")
        await shown.press("slash")
        await shown.type("EAST")
        await shown.press("enter")
        await shown.until("with EAST")
        assert await shown.bots() == ["al"]
        await shown.press("slash")
        await shown.type("zzz")
        await shown.until("no such bots")
        await shown.press("escape")
        assert len(await shown.bots()) == 5
        await shown.press("question_mark")
        await shown.until("sort by another column")


async def test_while_no_store_answers_the_table_stays_and_says_as_of_when():
    client = Beats(beat("al"), beat("bo"))
    async with top(client, SETTINGS) as shown:
        await shown.until("2 live")
        client.error = "no disk"
        await shown.until("as of ", ": no disk")
        assert await shown.bots() == ["al", "bo"]
        client.error, client.reason = None, "it does not answer"
        await shown.until(": Redis is away (it does not answer)", "al", "bo")
        client.reason = None
        await shown.until("2 live")
        await shown.until_not("as of")


async def test_what_a_stranger_wrote_is_shown_as_it_is():
    hostile = "[red]\x1b[2J\u202ex[/red]"
    client = Beats(beat(hostile, status="[b]\x07", host=hostile, room_url=f"https://{hostile}"))
    async with top(client, SETTINGS) as shown:
        screen = await shown.until(r"[red]\x1b[2J\u202ex[/red]", r"[b]\x07")
        assert not any(sign in screen for sign in "\x1b\x07\u202e")
        await shown.press("enter")
        await shown.until(r"[red]\x1b[2J\u202ex[/red]", "figures")
        for key in "mdxt":
            await shown.press(key)
            await shown.until("that is no id of a bot that can be reached")
        await shown.press("escape", "slash")
        await shown.type("red")
        await shown.until("with red")


@pytest.mark.parametrize("columns", [60, 200])
async def test_it_fits_the_terminal(columns):
    client = Beats(*(beat(f"会議-{number}", status="degraded") for number in range(40)))
    async with top(client, SETTINGS, size=(columns, 20)) as shown:
        await shown.until("会議-0", "degraded", "1ms", "SEEN", "▂", "Enter why", "q quit")
        assert ("PID" in await shown.text()) == (columns == 200)
        await shown.press("end")
        await shown.until("会議-9  far")
        client.beats = [beat()]
        await shown.until("1 live")
        await shown.press("m")
        await shown.until("Esc leave it")


async def test_of_a_thousand_bots_those_on_the_screen_are_drawn(monkeypatch):
    drawn = []
    line = FleetTable._line
    monkeypatch.setattr(FleetTable, "_line", lambda *given: drawn.append(given[1]) or line(*given))
    client = Beats(*(beat(f"bot-{number}", lag_ms=number / 7) for number in range(1000)))
    watch = Watch(client, SETTINGS)
    await watch.look()
    async with top(client, SETTINGS, size=(200, 50), every_s=60) as shown:
        await shown.until("1000 live")
        del drawn[:]
        await shown.watch.look()
        shown.app.screen.show()
        await shown.app.animator.wait_for_idle()
        await shown.press("down")
        assert 0 < len(drawn) <= 4 * 50, len(drawn)  # the cursor's move draws the screen again
        assert len({each.row["bot_id"] for each in drawn}) < 50


async def test_a_picture_of_it():
    client = Beats(beat("ada", lag_ms=250.0), beat("bo"))
    async with top(client, SETTINGS) as shown:
        await shown.until("ada", "bo")
        picture = shown.app.export_screenshot()
    assert picture.startswith("<svg")
    assert [line.split()[0] for line in lines_of(picture)[2:4]] == ["ada", "bo"]
