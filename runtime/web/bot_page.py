"""A bot's page as a server can write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .markup import Html, join, tag
from .pages import clock, page, status_word

_PLOTS = (
    ("lag_ms", "Lag of the event loop", "ms"),
    ("restarts", "Restarts", ""),
    ("rss_mb", "Resident memory", "MB"),
    ("depth", "Messages in its mailboxes", ""),
)
_COMMANDS = (
    (
        "stack",
        "Ask for the stack",
        "Ask {} for its stack?",
        "It tells where its tasks stand; that disturbs nothing.",
    ),
    ("drain", "Drain", "Drain {}?", "It takes no more messages, and ends when its main ends."),
    ("stop", "Stop", "Stop {}?", "It stops as SIGTERM does: its inbox ends, and main has its grace."),
)


def bot_page(bot_id: str, details: Mapping[str, Any], *, logged_in: bool) -> str:
    """Return a bot's page.

    Args:
        bot_id: the bot.
        details: `Watch.details`.
        logged_in: whether there is a session that can be ended.
    """
    row = details["bot"]
    status = row["status"] if row is not None else "unknown"
    told = details.get("summary") or f"Nobody knows a bot {bot_id}."
    if row is not None and row["as_of"] is not None:
        told = f"As of {clock(row['as_of'])}: {told}"
    head = tag(
        "div",
        tag("h1", tag("bdi", bot_id), " ", status_word(status, id="status")),
        tag(
            "div",
            *(_command(bot_id, *each) for each in _COMMANDS),
            class_="commands",
            id="commands",
            hidden=True,
        ),
        class_="title",
    )
    facts = [join(tag("dt", name), tag("dd", value)) for name, value in details.get("facts", ())]
    body = join(
        tag("p", tag("a", "← the fleet", href="/"), class_="back"),
        head,
        tag("p", told, id="summary", class_="summary"),
        tag("section", id="blocked", class_="card alarm", hidden=True, aria_label="What blocks it"),
        tag("div", *(_plot(*each) for each in _PLOTS), class_="plots", id="plots", hidden=True),
        tag("div", _card("Facts", tag("dl", *facts, id="facts")), _send_box(), class_="pair"),
        _card(
            "Messages",
            _table(
                "messages",
                "State",
                "Text",
                "From",
                "Queue",
                "Stored",
                "Tries",
                rows=[_message(each) for each in details.get("messages", ())],
            ),
        ),
        _card(
            "Ledger: the last exits of its actors",
            _table(
                "ledger",
                "When",
                "Actor",
                "Error",
                "Again after",
                rows=[_entry(each) for each in details.get("ledger", ())],
            ),
        ),
        tag("section", id="stacks", class_="card", hidden=True, aria_label="Where its tasks stand"),
        _dialog(),
    )
    return page(bot_id, body, details, script="bot.js", logged_in=logged_in, bot_id=bot_id)


def _card(title: str, *children: object) -> Html:
    return tag("section", tag("h2", title), *children, class_="card")


def _table(name: str, *titles: str, rows: Sequence[Sequence[object]]) -> Html:
    written = [
        tag("tr", *(tag("td", cell, data_label=title) for cell, title in zip(row, titles, strict=True)))
        for row in rows
    ]
    head = tag("tr", *(tag("th", title, scope="col") for title in titles))
    table = tag("table", tag("thead", head), tag("tbody", *written, id=name), class_="list")
    none = tag("p", "None.", class_="empty", hidden=bool(rows), id=f"no-{name}")
    return join(tag("div", table, class_="scroll", hidden=not rows, id=f"some-{name}"), none)


def _message(letter: Mapping[str, Any]) -> list[object]:
    text = f"{letter['text']} ({letter['reason']})" if letter["reason"] else letter["text"]
    return [
        status_word(letter["state"]),
        text,
        letter["sender"] or "-",
        letter["queue"],
        clock(letter["stored_at"]),
        letter["tries"],
    ]


def _entry(entry: Mapping[str, Any]) -> list[object]:
    again = "-" if entry["backoff_s"] is None else f"{entry['backoff_s']:.1f} s"
    return [entry["at"], entry["actor"], entry["error"], again]


def _plot(name: str, title: str, unit: str) -> Html:
    caption = tag("figcaption", tag("span", title), tag("output", "-"))
    return tag("figure", caption, tag("div", class_="plot"), data_figure=name, data_unit=unit, class_="card")


def _send_box() -> Html:
    form = tag(
        "form",
        tag("label", "Message", tag("textarea", name="text", rows="3", required=True, maxlength="100000")),
        tag(
            "div",
            tag(
                "label",
                "Mode ",
                tag(
                    "select",
                    tag("option", "queued", value="queued"),
                    tag("option", "immediate", value="immediate"),
                    name="mode",
                ),
            ),
            tag(
                "label",
                tag("input", type="checkbox", name="durable"),
                " durable",
                title="Keep a copy on this host, and send it again if Redis loses its memory",
                class_="check",
            ),
            tag("button", "Send", class_="main"),
            class_="row",
        ),
        tag("p", id="sending", role="status", class_="problem", hidden=True),
        tag("ol", id="sent", class_="sent", aria_label="What was sent from here"),
        id="send",
        hidden=True,
    )
    without = tag("noscript", tag("p", "This needs JavaScript; `botvisor send` does not."))
    return _card("Send", without, form)


def _command(bot_id: str, command: str, title: str, question: str, consequence: str) -> Html:
    return tag(
        "button",
        title,
        type="button",
        data_command=command,
        data_question=question.format(bot_id),
        data_consequence=consequence,
        class_="danger" if command == "stop" else None,
    )


def _dialog() -> Html:
    buttons = tag(
        "div",
        tag("button", "Cancel", value="", autofocus=True),
        tag("button", "Do it", value="yes", id="confirmed", class_="main"),
        class_="row",
    )
    words = join(tag("h2", id="question"), tag("p", id="consequence"))
    return tag(
        "dialog", tag("form", words, buttons, method="dialog"), id="confirm", aria_labelledby="question"
    )
