"""The pages as a server can write them: a frame, and a snapshot that reads without JavaScript."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from botvisor.fleet.words import duration
from botvisor.liveness import ENDED

from .markup import Html, join, tag

# The columns of the fleet: title, name in a row. The page's script has the same.
COLUMNS = (
    ("Bot", "bot_id"),
    ("Status", "status"),
    ("Host", "host"),
    ("Room", "room_url"),
    ("Who", "participants"),
    ("Up", "uptime_s"),
    ("Restarts", "restarts"),
    ("Lag", "lag_ms"),
    ("Backend", "backend"),
    ("Seen", "last_seen_s"),
)
_NUMBERS = frozenset({"uptime_s", "restarts", "lag_ms", "last_seen_s"})


def fleet_page(state: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], *, logged_in: bool) -> str:
    """Return the page of the fleet.

    Args:
        state: `Board.state`.
        rows: the bots' rows.
        logged_in: whether there is a session that can be ended.
    """
    shown = sorted((row for row in rows if row["status"] not in ENDED), key=lambda row: str(row["bot_id"]))
    head = tag("tr", *(tag("th", title, scope="col", class_=_class(name)) for title, name in COLUMNS))
    table = tag(
        "table",
        tag("caption", "The bots", class_="hidden"),
        tag("thead", head),
        tag("tbody", *(_row(row) for row in shown), id="bots"),
        class_="fleet",
    )
    tools = tag(
        "form",
        tag(
            "label",
            "Filter ",
            tag(
                "input",
                type="search",
                id="filter",
                autocomplete="off",
                spellcheck="false",
                placeholder="id, host, room, who",
            ),
        ),
        tag("span", id="statuses", role="group", aria_label="Filter by status"),
        tag("label", tag("input", type="checkbox", id="ended"), " show those that ended", class_="check"),
        class_="tools",
        id="tools",
        role="search",
        hidden=True,
    )
    empty = tag("p", "No bots run.", id="empty", class_="empty", hidden=bool(shown))
    body = join(tools, tag("div", table, class_="scroll"), empty)
    return page("Fleet", body, state, script="fleet.js", logged_in=logged_in)


def login_page(problem: str = "") -> str:
    """Return the login form.

    Args:
        problem: why it is shown again.
    """
    form = tag(
        "form",
        tag("h1", "botvisor"),
        tag(
            "label",
            "Token ",
            tag(
                "input",
                type="password",
                name="token",
                required=True,
                autofocus=True,
                autocomplete="current-password",
            ),
        ),
        tag("p", problem, role="alert", class_="problem") if problem else None,
        tag("button", "Log in", class_="main"),
        method="post",
        action="/login",
        class_="login card",
    )
    return _document("Log in", tag("main", form))


def page(
    title: str,
    body: Html,
    state: Mapping[str, Any],
    *,
    script: str,
    logged_in: bool,
    bot_id: str | None = None,
) -> str:
    """Return a page with its frame; see `fleet_page`.

    Args:
        title: its title.
        body: what is in the frame.
        state: `Board.state`.
        script: the name of its script.
        logged_in: whether there is a session that can be ended.
        bot_id: the bot that the script is to show.
    """
    leave = tag("form", tag("button", "Log out"), method="post", action="/logout") if logged_in else None
    header = tag(
        "header",
        tag("a", tag("span", class_="mark"), "botvisor", href="/", class_="brand"),
        tag("span", f"as of {clock(time.time())}", id="live", class_="live old", role="status"),
        leave,
    )
    noscript = tag(
        "noscript",
        tag(
            "p",
            "This is how it was when the page was loaded. JavaScript keeps it live, plots, and sends.",
            class_="banner",
        ),
    )
    banner = tag("p", trouble(state), id="banner", class_="banner", hidden=not trouble(state), role="alert")
    main = tag("main", noscript, banner, body, data_bot=bot_id)
    return _document(title, join(header, main), script)


def trouble(state: Mapping[str, Any]) -> str:
    """Return what is wrong with what is shown, in a sentence or two; empty when it is all there."""
    as_of = state["as_of"]
    when = f" The rest is as of {clock(as_of)}." if as_of is not None else ""
    if state["problem"]:
        all_old = f" This is as of {clock(as_of)}." if as_of is not None else ""
        return f"The bots cannot be read: {state['problem']}.{all_old}"
    if state["away"]:
        return f"Redis is away ({state['away']}): only this host's files tell of bots now.{when}"
    return ""


def _document(title: str, body: Html, script: str | None = None) -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · botvisor"),
        tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="/static/page.css"),
        tag("script", type="module", src=f"/static/{script}") if script else None,
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', body), lang='en')}\n"


def _row(row: Mapping[str, Any]) -> Html:
    link = tag("a", tag("bdi", row["bot_id"]), href=f"/bot?id={quote(str(row['bot_id']), safe='')}")
    special = {"bot_id": link, "status": status_word(row["status"])}
    cells = [
        tag("td", special.get(name) or _shown(name, row), class_=_class(name), data_label=title)
        for title, name in COLUMNS
    ]
    return tag("tr", *cells, class_="old" if row["as_of"] is not None else None)


def _shown(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    if name == "participants":
        return str(row["participant_count"])
    if name in ("uptime_s", "last_seen_s"):
        return duration(value)
    if name == "lag_ms" and value is not None:
        return f"{value:g} ms"
    return "-" if value in (None, "") else str(value)


def _class(name: str) -> str | None:
    # Not "status": that is the class of the word in it.
    return "number" if name in _NUMBERS else "state" if name == "status" else name.partition("_")[0]


def status_word(status: str, **more: object) -> Html:
    """Return a status, as a word with its colour."""
    return tag("span", status, class_=f"status {status if status.isalpha() else ''}", **more)


def clock(at: float) -> str:
    """Return the time of day at which something was."""
    return time.strftime("%H:%M:%S", time.localtime(at))
