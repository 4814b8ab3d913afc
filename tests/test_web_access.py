"""Who may ask the web page for what: tokens, sessions, origins, names."""

import re

import pytest

from botvisor.config import Secret
from botvisor.web.access import SESSION_S, Access
from botvisor.web.guard import is_loopback
from botvisor.web.server import TokenNeeded, serve

from .bot_rig import logged
from .fleet import settings_in
from .web_rig import TOKEN, site

PATHS = (
    "/",
    "/bot?id=ada",
    "/api/1/fleet",
    "/api/1/fleet/events",
    "/api/1/bot?id=ada",
    "/api/1/bot/events?id=ada",
)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def open_site(tmp_path):
    async with site(settings_in(tmp_path)) as served:
        yield served


@pytest.fixture
async def guarded(tmp_path):
    async with site(settings_in(tmp_path), token=Secret(TOKEN)) as served:
        yield served


def cookie_in(answer):
    return answer.fields["set-cookie"].partition(";")[0]


async def test_without_the_token_nothing_is_shown(guarded):
    for path in PATHS:
        answer = await guarded.get(path)
        assert answer.status == (401 if path.startswith("/api/") else 303)
        assert answer.fields.get("location", "/login") == "/login"
    for path in ("/api/1/messages", "/api/1/control"):
        assert (await guarded.post(path, {"bot_id": "ada"})).status == 401


async def test_the_login_form_needs_no_token(guarded):
    answer = await guarded.get("/login")
    assert answer.status == 200
    assert 'type="password"' in answer.text
    assert (await guarded.get("/static/page.css")).status == 200


async def test_a_wrong_token_lets_nobody_in(guarded):
    for token in ("", TOKEN[:-1]):
        answer = await guarded.log_in(token)
        assert answer.status == 401
        assert "set-cookie" not in answer.fields
    for given in ("Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN):
        assert (await guarded.get("/api/1/fleet", Authorization=given)).status == 401
    for cookie in ("botvisor_session=1", "botvisor_session=fffffffff.a.b", f"botvisor_session={TOKEN}"):
        assert (await guarded.get("/api/1/fleet", Cookie=cookie)).status == 401


async def test_the_token_opens_a_session_that_scripts_and_strangers_cannot_use(guarded):
    answer = await guarded.log_in()
    assert (answer.status, answer.fields["location"]) == (303, "/")
    assert TOKEN not in answer.fields["set-cookie"]
    flags = {flag.strip().lower() for flag in answer.fields["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={SESSION_S}"} <= flags
    page = await guarded.get("/", Cookie=cookie_in(answer))
    assert page.status == 200
    assert "Log out" in page.text


async def test_a_script_bears_the_token(guarded):
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded.get("/api/1/fleet", **bearer)).json["bots"] == []
    answer = await guarded.ask("POST", "/api/1/control", "{}", Content_Type="application/json", **bearer)
    assert answer.status == 400  # it may, from no page at all; only, this is no command


async def test_a_stranger_cannot_have_a_browser_log_in_or_out(guarded):
    evil = {"Origin": "https://evil.test"}
    assert (await guarded.ask("POST", "/login", f"token={TOKEN}", **evil)).status == 403
    assert (await guarded.ask("POST", "/logout", "", **evil)).status == 403
    gone = await guarded.ask(
        "POST", "/logout", "", Origin=guarded.origin, Cookie=cookie_in(await guarded.log_in())
    )
    assert (gone.status, gone.fields["location"]) == (303, "/login")
    assert cookie_in(gone) == 'botvisor_session=""'


FOREIGN = (
    {},
    {"Origin": "https://evil.test"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1"},  # another port is another origin
    {"Origin": "http://["},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "none"},
    {"Sec_Fetch_Site": "same-origin", "Origin": "https://evil.test"},
)


async def test_only_the_page_itself_may_post(open_site):
    body = '{"bot_id": "ada", "text": "x", "command": "stop"}'
    for fields in FOREIGN:
        for path in ("/api/1/messages", "/api/1/control"):
            answer = await open_site.ask("POST", path, body, Content_Type="application/json", **fields)
            assert (answer.status, list(answer.json)) == (403, ["error"]), fields


async def test_a_form_of_a_stranger_has_the_wrong_type(open_site):
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await open_site.post("/api/1/messages", {"bot_id": "ada", "text": "x"}, Content_Type=kind)
        assert answer.status == 415


async def test_a_name_that_is_not_ours_is_refused(open_site):
    names = ("evil.test", "evil.test:80", "127.0.0.1.evil.test", "localhost.evil.test")
    for host in (*names, "", "[", "@", "localhost:x"):
        for path in ("/", "/login", "/static/page.css", "/api/1/fleet"):
            assert (await open_site.get(path, Host=host)).status == 421, host


async def test_our_own_names_and_any_address_are_accepted(tmp_path):
    async with site(settings_in(tmp_path), names=["bots.example.test"]) as served:
        for host in (
            "localhost",
            "LOCALHOST:9",
            "127.0.0.1:1",
            "[::1]:8377",
            "10.1.2.3",
            "bots.example.test",
        ):
            assert (await served.get("/", Host=host)).status == 200
        proxied = {"Host": "bots.example.test", "Origin": "https://bots.example.test"}
        assert (await served.post("/api/1/control", {"bot_id": "ada"}, **proxied)).status == 400


async def test_every_answer_forbids_what_no_page_here_needs(guarded):
    for path in ("/", "/login", "/static/live.js", "/api/1/fleet", "/nowhere"):
        fields = (await guarded.get(path)).fields
        policy = fields["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert fields["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in fields
        assert "server" not in fields


async def test_the_token_is_never_logged(tmp_path, capfd):
    with logged() as lines:
        async with site(settings_in(tmp_path), token=Secret(TOKEN)) as served:
            await served.log_in()
            await served.log_in("wrong token of some length")
            await served.get(f"/?token={TOKEN.replace(' ', '+')}")
    said = "".join([*lines, *capfd.readouterr()])
    assert not re.search(r"a.token.of.some", said)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "bots.example.test"])
async def test_other_hosts_reach_it_only_with_a_token(tmp_path, host):
    with pytest.raises(TokenNeeded, match="needs a token"):
        await serve(settings_in(tmp_path), host=host, port=0)


@pytest.mark.parametrize(
    ("host", "is_one"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_what_loopback_is(host, is_one):
    assert is_loopback(host) is is_one


def test_a_session_ends():
    access = Access(Secret(TOKEN))
    secret = access.open_session(1_000.0)
    assert access.is_session(secret, 1_000.0 + SESSION_S - 1)
    assert not access.is_session(secret, 1_000.0 + SESSION_S + 1)
    assert not Access(Secret(TOKEN)).is_session(secret, 1_000.0)


def test_a_session_cannot_be_made_longer():
    access = Access(Secret(TOKEN))
    until, nonce, signature = access.open_session(1_000.0).split(".")
    assert not access.is_session(f"{int(until, 16) + 1:x}.{nonce}.{signature}", 1_000.0)


def test_a_short_token_is_refused():
    with pytest.raises(ValueError, match="at least 16 characters"):
        Access(Secret("too short"))
