"""The web page in a real Chromium: what is seen there, live; and that nothing hostile runs."""

import contextlib

import anyio
import pytest
from anyio import to_thread

from botvisor import open_bot
from botvisor.actors.backend.files import FileStore
from botvisor.config import Secret
from botvisor.heartbeat import Heartbeat, to_hash
from botvisor.store import WriteHeartbeat

from . import browser
from .fleet import settings_in
from .web_rig import TOKEN, site

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
LIVE = "document.querySelector('#live').textContent === 'live'"
ESCAPE, TAB, ENTER = "\ue00c", "\ue004", "\ue007"


pytestmark = pytest.mark.xdist_group("chromium")  # one browser is enough


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with browser.browser_in(tmp_path_factory.mktemp("chromium")) as window:
        yield window


@contextlib.asynccontextmanager
async def shown(folder, window, **more):
    """A page with a bot that handles its messages; the browser's calls are made in a thread."""
    settings = settings_in(folder)

    async def read(bot):
        async for _ in bot.inbox:
            pass

    async with (
        open_bot(room_url="https://example.test/room", bot_id="ada", settings=settings) as bot,
        site(settings, **more) as page,
        anyio.create_task_group() as group,
    ):
        group.start_soon(read, bot)
        try:
            yield bot, page
        finally:
            await to_thread.run_sync(window.open, "about:blank")
            group.cancel_scope.cancel()


async def in_thread(steps, *arguments):
    return await to_thread.run_sync(steps, *arguments)


async def test_an_operator_looks_sends_and_stops(tmp_path, window):
    async with shown(tmp_path, window) as (bot, page):

        def look():
            window.resize(1280, 900)
            window.open(page.url)
            window.until(LIVE)
            window.until("document.querySelectorAll('#bots tr').length === 1")
            assert "healthy" in window.text("#bots tr")
            window.press("/")
            window.type("#filter", "nobody")
            window.until("document.querySelector('#bots tr').hidden")
            assert window.text("#empty") == "No such bots."
            window.press(ESCAPE)
            window.until("!document.querySelector('#bots tr').hidden")

        def send():
            window.click("#bots a")
            window.until("document.querySelectorAll('.plot svg path.line').length === 4")
            window.type("#send textarea", "wrap up")
            window.click("#send button")
            window.until("document.querySelectorAll('.steps .reached').length === 3")
            assert "wrap up" in window.text("#sent")

        def stop():
            window.click("[data-command=stop]")
            window.until("document.querySelector('dialog').open")
            assert window.text("#question") == "Stop ada?"
            window.press(ENTER)  # the focus is on what does nothing
            window.until("!document.querySelector('dialog').open")
            assert window.text("#sending") == ""
            window.click("[data-command=stop]")
            window.press(TAB)
            window.press(ENTER)
            window.until("document.querySelector('#sending').textContent === 'It was told: stop.'")

        await in_thread(look)
        await in_thread(send)
        await in_thread(stop)
        with anyio.fail_after(10):
            await bot.wait_stopping()
        assert await in_thread(window.log) == []


async def test_hostile_texts_run_nowhere(tmp_path, window):
    async with shown(tmp_path, window) as (_, page):
        place = {"file": EVIL, "line": 1, "function": EVIL, "stack": EVIL, "for_s": 1.0}
        evil = Heartbeat(
            pid=1, room_url=EVIL, participants=(EVIL,), timestamp="2999-01-01T00:00:00+00:00", bot_id="evil",
            host=EVIL, status="blocked",
            health={"backend": EVIL, "blocked": place, "ledger": [{"error": EVIL}], "stack": {EVIL: EVIL}},
        )  # fmt: skip
        store = FileStore(settings_in(tmp_path))
        await store.execute([WriteHeartbeat("evil", to_hash(evil))])
        store.close()

        def look():
            window.open(page.url)
            window.until("document.querySelectorAll('#bots tr').length === 2")
            assert EVIL in window.text("#bots")
            window.open(f"{page.url}bot?id=evil")
            window.until(LIVE)
            window.until("!document.querySelector('#blocked').hidden")
            assert EVIL in window.text("main")
            assert window.run("return document.title") == "evil · botvisor"
            assert window.run("return document.querySelectorAll('main img, main script').length") == 0

        await in_thread(look)
        assert await in_thread(window.log) == []


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
async def test_pages_fit_their_window(tmp_path, window, width, scheme):
    async with shown(tmp_path, window) as (_, page):

        def measure():
            window.resize(width, 800)
            window.prefer(scheme)
            for path in ("", "bot?id=ada"):
                window.open(page.url + path)
                window.until(LIVE)
                assert window.run("return document.documentElement.scrollWidth") == width
            ground = window.run("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")

        await in_thread(measure)


async def test_the_token_is_asked_for_once(tmp_path, window):
    async with shown(tmp_path, window, token=Secret(TOKEN)) as (_, page):

        def log_in():
            window.open(f"{page.url}bot?id=ada")
            window.until("location.pathname === '/login'")
            window.type("input[name=token]", TOKEN + ENTER)
            window.until("location.pathname === '/'")
            window.until(LIVE)
            assert window.run("return document.cookie") == ""

        await in_thread(log_in)


async def test_a_page_that_has_lost_its_server_says_as_of_when_it_is(tmp_path, window):
    async with shown(tmp_path, window) as (_, page):
        await in_thread(window.open, page.url)
        await in_thread(window.until, LIVE)
        async with site(settings_in(tmp_path)) as other:  # one that ends while the browser looks
            await in_thread(window.open, other.url)
            await in_thread(window.until, LIVE)
        await in_thread(
            window.until, "/^as of \\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('#live').textContent)"
        )
        assert "lost its server" in await in_thread(window.text, "#banner")
        assert "ada" in await in_thread(window.text, "#bots")
        await in_thread(window.log)
