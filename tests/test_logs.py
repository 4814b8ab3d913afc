"""Log lines: the guide's shapes and levels, safe against what strangers put into names."""

import io
import logging
import re

import pytest
from loguru import logger

from botvisor import logs
from botvisor.events import (
    ChildExhausted,
    ChildFailed,
    ChildStarted,
    ChildStopped,
    ChildStuck,
    DeadLetters,
    Event,
)
from botvisor.logs import Log
from botvisor.testing import fake_bot

HOSTILE = "ada\n2026-01-01 | ERROR | [file-admin] forged\r\x1b[2J\x85\u2028\ud800"


@pytest.fixture
def records():
    """Every record that reaches the host's own sink."""
    seen = []
    sink = logger.add(lambda message: seen.append(message.record), level=0)
    yield seen
    logger.remove(sink)


@pytest.fixture
def timings():
    yield (guide := logging.getLogger("redis_client"))
    guide.setLevel(logging.NOTSET)


@pytest.fixture
def host_sinks():
    """The sinks as a host has them before `run_bot`: loguru's default one."""
    logger.remove()
    logs._sink = logger.add(io.StringIO())
    yield
    logger.remove()
    logs._sink = 0


def lines(records):
    return [(record["level"].name, record["message"]) for record in records]


def raised(error):
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_line_has_its_area_its_level_and_its_caller(records, level):
    getattr(Log("file"), level)("heartbeat", "Sent heartbeat for bot 12345")
    assert lines(records) == [(level.upper(), "[file-heartbeat] Sent heartbeat for bot 12345")]
    assert records[0]["name"] == __name__


@pytest.mark.virtual_time
async def test_a_bot_says_what_the_guide_says(records):
    async def main(bot):
        await bot.identities.write("user1", {"sessionUserName": "John"})
        async for _ in bot.inbox:
            return

    async with fake_bot(main, bot_id="12345") as bot:
        await bot.send("hello")
        await bot.wait()
    said = lines(records)
    assert ("INFO", "[memory-heartbeat] Sent heartbeat for bot 12345") in said
    assert ("INFO", "[memory-identity] Stored identity for participant user1") in said
    assert ("INFO", "[memory-admin] Sent admin message to bot 12345 via memory") in said
    assert ("INFO", "[memory-supervisor] Bot 12345 ended: returned") in said


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (ChildStarted("a", 1), "DEBUG", "Started a"),
        (ChildStarted("a", 2), "INFO", "Restarted a"),
        (
            ChildFailed("a", OSError("no disk"), "Beat", 0.25, 4),
            "WARNING",
            "a failed on Beat: OSError: no disk - restarting in 0.25 s, 4 left",
        ),
        (
            ChildFailed("a", OSError("no disk"), "", 0.25, 4),
            "WARNING",
            "a failed: OSError: no disk - restarting in 0.25 s, 4 left",
        ),
        (
            ChildExhausted("a", OSError("no disk"), parked=True, probe_s=60),
            "ERROR",
            "a used up its restarts: OSError: no disk - parked, tried again in 60 s",
        ),
        (
            ChildExhausted("a", OSError("no disk"), parked=False, probe_s=0),
            "ERROR",
            "a used up its restarts: OSError: no disk - giving up",
        ),
        (ChildStopped("a", "SIGTERM"), "DEBUG", "Stopped a: SIGTERM"),
        (
            ChildStopped("a", "SIGTERM", OSError("no disk")),
            "WARNING",
            "a failed as it stopped (SIGTERM): OSError: no disk",
        ),
        (ChildStuck("a", 5, "  bot.py:1 in main"), "ERROR", "a still runs 5 s after it was cancelled:"),
        (DeadLetters("a", 3, ("Beat", "Look")), "WARNING", "a left 3 messages unhandled: Beat, Look"),
        (Event("a"), "DEBUG", "Event(child='a')"),
    ],
)
def test_each_lifecycle_event_has_its_line(records, event, level, text):
    Log("file").event(event)
    assert records[0]["level"].name == level
    assert records[0]["message"].splitlines()[0] == f"[file-supervisor] {text}"
    assert records[0]["name"] == "botvisor.logs"


def test_a_failure_brings_its_traceback_without_local_variables(records):
    def connect(password):
        raise OSError("no route")

    with pytest.raises(OSError, match="no route") as caught:
        connect("hunter2" + "-secret")
    Log("file").event(ChildFailed("a", caught.value, "", 0.1, 4))
    assert 'raise OSError("no route")' in records[0]["message"]
    assert "hunter2-secret" not in records[0]["message"]
    assert records[0]["exception"] is None  # what a sink with diagnose=True would draw variables from


def test_a_stuck_child_is_shown_with_where_it_hangs(records):
    Log("file").event(ChildStuck("a", 5, "  bot.py:1 in main\n  lib.py:2 in wait"))
    assert records[0]["message"].splitlines()[1:] == ["    bot.py:1 in main", "    lib.py:2 in wait"]


@pytest.mark.parametrize(
    "write",
    [
        lambda log: log.info("admin", f"Sent admin message to bot {HOSTILE}"),
        lambda log: log.event(ChildStarted(HOSTILE, 1)),
        lambda log: log.event(ChildFailed("a", raised(OSError(HOSTILE)), HOSTILE, 0.1, 4)),
        lambda log: log.event(ChildStopped("a", HOSTILE)),
        lambda log: log.event(Event(HOSTILE)),
    ],
)
def test_no_name_can_forge_a_line_or_move_the_cursor(records, write):
    write(Log("file"))
    first, *more = records[0]["message"].splitlines()
    assert first.startswith("[file-")
    assert all(line.startswith("  ") for line in more)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", records[0]["message"])


def test_braces_and_markup_in_a_name_are_only_text(records):
    Log("file").info("admin", "for {0} {name} <red>x</red> %s")
    assert records[0]["message"] == "[file-admin] for {0} {name} <red>x</red> %s"


def test_a_long_text_is_cut(records):
    Log("file").event(ChildFailed("a", raised(OSError("x" * 100_000 + "\n" * 10_000)), "", 0.1, 4))
    assert len(records[0]["message"]) < 100 * 520


def test_timings_are_silent_by_default(records, timings):
    Log("file").timing("client", "1 commands took 0.10 ms")
    assert records == []


def test_the_guides_logger_opens_the_timings_without_a_handler(records, timings):
    timings.setLevel(logging.DEBUG)
    Log("file").timing("client", "1 commands took 0.10 ms")
    assert lines(records) == [("DEBUG", "[file-client] 1 commands took 0.10 ms")]
    assert timings.handlers == []


def test_configure_replaces_the_default_sink(host_sinks, capsys):
    logs.configure("WARNING")
    Log("file").info("admin", "not this")
    Log("file").warning("admin", "but this")
    assert [line.split(" - ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "[file-admin] but this"
    ]


def test_configured_twice_it_writes_each_line_once(host_sinks, capsys):
    logs.configure("INFO")
    logs.configure("INFO")
    Log("file").info("admin", "hello")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_hosts_other_sinks_stay(host_sinks):
    mine = io.StringIO()
    logger.add(mine, format="{message}")
    logs.configure("ERROR")
    Log("file").info("admin", "seen")
    assert mine.getvalue() == "[file-admin] seen\n"


def test_without_a_level_loguru_is_left_alone(host_sinks):
    before = dict(logger._core.handlers)
    logs.configure(None)
    assert logger._core.handlers == before


def test_a_host_that_removed_the_default_sink_itself_is_no_error(host_sinks, capsys):
    logger.remove()
    logs.configure("INFO")
    Log("file").info("admin", "seen")
    assert "seen" in capsys.readouterr().err


@pytest.mark.parametrize("level", ["info", "INFO", "20"])
def test_a_level_may_be_a_name_or_a_number(host_sinks, capsys, level):
    logs.configure(level)
    Log("file").debug("admin", "not this")
    Log("file").info("admin", "but this")
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_unknown_level_is_refused_and_nothing_is_changed(host_sinks):
    before = dict(logger._core.handlers)
    with pytest.raises(ValueError, match="LOUD"):
        logs.configure("loud")
    assert logger._core.handlers == before


def test_the_timings_show_even_at_a_higher_level(host_sinks, timings, capsys):
    timings.setLevel(logging.DEBUG)
    logs.configure("INFO")
    Log("file").debug("client", "not this")
    Log("file").timing("client", "1 commands took 0.10 ms")
    assert [line.split(" - ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "[file-client] 1 commands took 0.10 ms"
    ]
