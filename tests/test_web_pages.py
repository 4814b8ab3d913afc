"""What the web page shows of a bot, whatever its heartbeat holds."""

import re
import time
from html.parser import HTMLParser
from importlib.resources import files

import msgspec
import pytest

from botvisor.fleet import views
from botvisor.heartbeat import Heartbeat
from botvisor.store import Queue, QueuedMessage
from botvisor.web import pages
from botvisor.web.bot_page import bot_page
from botvisor.web.markup import tag

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&"
STATE = {"as_of": None, "away": None, "problem": None}
WRONG = [
    None,
    True,
    -1,
    1e308,
    10**30,
    float("nan"),
    "text",
    EVIL,
    [],
    [1, "a"],
    {},
    {"a": {"b": []}},
    "\x00\u202e",
]
NAMES = [
    "uptime_s", "restarts", "lag_ms", "backend", "store", "mailboxes", "ledger", "resting", "blocked",
    "stack", "rss_mb", "cpu_s", "throttled_s", "gc_pause_ms", "oldest_message_s", "status_s",
]  # fmt: skip


def beat(**more):
    fields = {
        "pid": 7, "room_url": "https://example.test/x", "participants": ("ann",), "bot_id": "ada",
        "timestamp": "2026-01-01T00:00:00.000+00:00", "status": "healthy", "host": "there",
    }  # fmt: skip
    return Heartbeat(**{**fields, **more})


def details(heartbeat, messages=()):
    row = {**views.row_of(heartbeat, 30.0), "as_of": None}
    letters = [views.letter_of(*pair) for pair in messages]
    about = views.details_of(heartbeat, row["status"], [message for _, message in messages], time.time())
    return {**STATE, "bot": row, **about, "messages": letters}


class Elements(HTMLParser):
    """Which elements and attributes there are."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, name, attributes):
        self.found.append((name, dict(attributes)))


def assert_harmless(text):
    for name, attributes in Elements(text).found:
        assert not any(key.startswith("on") or key == "style" for key in attributes), attributes
        assert name != "img"
        if name == "script":
            assert attributes["src"].startswith("/static/")
    assert "alert(1)</script>" not in text


def test_text_and_attributes_are_escaped():
    quoted = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;&gt;&lt;img src=x onerror=alert(1)&gt;&amp;"
    made = tag("p", EVIL, title=EVIL, hidden=True, class_=None)
    assert made == f'<p title="{quoted}" hidden>{quoted}</p>'


def test_hostile_names_are_only_text_in_the_fleet():
    evil = beat(
        bot_id=EVIL, host=EVIL, room_url=EVIL, participants=(EVIL,), status=EVIL, health={"backend": EVIL}
    )
    row = {**views.row_of(evil, 1e12), "as_of": None}
    text = pages.fleet_page({**STATE, "away": EVIL}, [row], logged_in=True)
    assert_harmless(text)
    assert "&lt;script&gt;" in text
    assert 'href="/bot?id=%3Cscript%3E' in text


def test_hostile_texts_are_only_text_on_a_bots_page():
    place = {"file": EVIL, "line": EVIL, "function": EVIL, "stack": EVIL}
    entry = {"at": EVIL, "actor": EVIL, "error": EVIL, "message": EVIL}
    health = {"blocked": place, "ledger": [entry], "stack": {EVIL: EVIL}, "store": {"reason": EVIL}}
    evil = beat(bot_id=EVIL, status="blocked", health=health)
    raw = msgspec.json.encode({"id": EVIL, "message": EVIL, "sender_name": EVIL})
    letter = QueuedMessage(raw=raw, name="x", state="dead", reason=EVIL)
    text = bot_page(EVIL, details(evil, [(Queue("room", EVIL), letter)]), logged_in=False)
    assert_harmless(text)
    assert_harmless(pages.login_page(EVIL))


@pytest.mark.parametrize("name", NAMES)
def test_a_heartbeat_of_any_content_can_be_shown(name):
    for value in WRONG:
        for status in ("healthy", "blocked", "degraded", "stopped"):
            odd = beat(
                status=status, health={name: value}, epitaph={"ledger": value, "reason": value, "exit": value}
            )
            shown = details(odd)
            msgspec.json.encode([shown, views.figures_of(odd)])
            bot_page("ada", shown, logged_in=False)
            pages.fleet_page(STATE, [shown["bot"]], logged_in=False)


def test_the_lag_of_a_blocked_bot_is_for_how_long_it_has_been():
    health = {"lag_ms": 3.0, "restarts": 2, "rss_mb": 33.5, "mailboxes": {"inbox": 1, "main": 2}}
    assert views.figures_of(beat(health=health)) == (3.0, 2, 33.5, 3)
    stands = beat(status="blocked", health={**health, "blocked": {"for_s": 4.2}})
    assert views.figures_of(stands)[0] == 4200


def test_what_is_shown_is_bounded():
    long = "x" * 100_000
    ledger = [{"error": long}] * 1_000
    heavy = beat(
        participants=(long,) * 500,
        room_url=long,
        host=long,
        health={"ledger": ledger, "stack": {"main": long}},
    )
    shown = details(heavy)
    assert len(msgspec.json.encode(shown)) < 30_000
    assert shown["bot"]["participant_count"] == 500


def test_control_characters_are_shown_escaped():
    assert views.clip("a\x1b[31m\u202eb") == "a\\x1b[31m\\u202eb"


def test_a_message_is_shown_with_its_state_in_words():
    raw = msgspec.json.encode({"id": "m1", "message": "wrap up", "sender_name": "Olga"})
    message = QueuedMessage(raw=raw, name="", state="delivered", tries=2, stored_at=5.0)
    shown = views.letter_of(Queue("bot", "ada"), message)
    assert (shown["id"], shown["state"], shown["queue"]) == ("m1", "claimed", "bot ada")
    assert (shown["text"], shown["sender"], shown["tries"]) == ("wrap up", "Olga", 2)
    assert views.letter_of(Queue("bot", "ada"), QueuedMessage(raw=b"\xff", name="f", state="dead"))["text"]


def test_a_page_reads_without_scripts():
    text = bot_page("ada", details(beat()), logged_in=False)
    plain = re.sub(r"<[^>]+>", " ", text)
    for part in ("ada", "https://example.test/x", "ann", "there", "lost"):
        assert part in plain


def test_a_page_says_as_of_when_it_is():
    state = {"as_of": 1_764_000_000.0, "away": "it refuses connections", "problem": None}
    said = pages.trouble(state)
    assert said.startswith("Redis is away (it refuses connections): only this host's files tell of bots now.")
    assert re.search(r"as of \d\d:\d\d:\d\d\.$", said)
    assert "cannot be read: it broke. This is as of" in pages.trouble({**state, "problem": "it broke"})
    assert pages.trouble(STATE) == ""


def test_the_script_has_the_same_columns_as_the_snapshot():
    script = (files("botvisor.web") / "static" / "fleet.js").read_text()
    titles = re.findall(r'^  \["(\w+)", "\w+", \(bot\)', script, re.MULTILINE)
    assert titles == [title for title, _ in pages.COLUMNS]


def test_nothing_is_fetched_from_elsewhere_and_nothing_read_as_html():
    for each in (files("botvisor.web") / "static").iterdir():
        text = each.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\.style\b", text
        )
