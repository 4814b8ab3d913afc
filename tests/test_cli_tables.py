"""Tables, filters and durations: what is decided before anything is printed."""

import pytest

from botvisor.cli.table import fit, table
from botvisor.fleet.rows import Filters, note_of, row_of, rows_of
from botvisor.fleet.words import duration, printable
from botvisor.heartbeat import Heartbeat

COLUMNS = ["BOT", "ROOM", "PID", "STATUS"]
ROWS = [["ada", "https://example.test/a-long-name", "4711", "healthy"], ["b", "-", "1", "lost"]]


def wide(columns, rows):
    return max(map(len, table(columns, rows).splitlines()))


@pytest.mark.parametrize("limit", range(20, 80, 3))
def test_a_table_fits_and_keeps_what_matters(limit):
    columns, rows = fit(COLUMNS, ROWS, ["PID", "ROOM"], limit)
    assert wide(columns, rows) <= limit
    assert {"BOT", "STATUS"} <= set(columns)
    assert all(len(row) == len(columns) for row in rows)


def test_what_fits_stays_as_it_is():
    assert fit(COLUMNS, ROWS, ["PID"], 200) == (COLUMNS, ROWS)


def test_the_least_important_column_goes_first():
    assert fit(COLUMNS, ROWS, ["PID", "ROOM"], 48)[0] == ["BOT", "ROOM", "STATUS"]


def test_the_widest_cells_are_cut_where_no_column_may_go():
    columns, rows = fit(COLUMNS, ROWS, [], 40)
    assert (columns, rows[0]) == (COLUMNS, ["ada", "…le.test/a-long-name", "4711", "healthy"])
    assert wide(columns, rows) == 40


@pytest.mark.parametrize("limit", range(30, 140, 7))
def test_a_long_text_costs_no_column_as_long_as_it_can_be_cut(limit):
    columns, rows = [*COLUMNS, "NOTE"], [[*ROWS[0], "x" * 90], [*ROWS[1], ""]]
    titles, cells = fit(columns, rows, ["PID", "ROOM"], limit, {"ROOM": 20, "NOTE": 20})
    assert wide(titles, cells) <= limit
    assert ("ROOM" in titles, "PID" in titles) == (limit >= 57, limit >= 63)
    if "ROOM" in titles:
        assert cells[0][titles.index("ROOM")].endswith("est/a-long-name")
        assert len(cells[0][-1]) >= 20


def test_letters_that_take_two_columns_are_counted_as_two():
    assert table(["NAME", "ID"], [["会議", "a"], ["Zoe\u0301", "b"]]) == "NAME  ID\n会議  a\nZoe\u0301   b"
    assert fit(["NAME", "ID"], [["会議会議会議", "a"]], (), 12)[1] == [["会議会…", "a"]]


def test_control_characters_reach_no_terminal():
    assert "\x1b" not in table(["A"], [["\x1b[2J\n"]])
    assert printable("a\tb\u202e") == "a\\tb\\u202e"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (float("inf"), "-"),
        (0, "0.0s"),
        (9.94, "9.9s"),
        (59.9, "59s"),
        (192, "3m12s"),
        (3 * 3600 + 60, "3h01m"),
        (50 * 3600, "2d02h"),
    ],
)
def test_durations_are_written_as_people_do(seconds, text):
    assert duration(seconds) == text


def beat(bot_id, **fields):
    given = {"pid": 1, "room_url": "", "participants": (), "timestamp": "2100-01-01T00:00:00Z", "host": "h"}
    return Heartbeat(bot_id=bot_id, **{**given, "status": "healthy", **fields})


FLEET = [
    beat("c", room_url="https://Example.test:443/room/"),
    beat("a", status="blocked"),
    beat("d", status="stopped", host="other"),
    beat("b", timestamp="2020-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(
    ("filters", "shown"),
    [
        (Filters(), "ac"),
        (Filters(everybody=True), "abcd"),
        (Filters(statuses=["lost"]), "b"),
        (Filters(statuses=["lost", "blocked"]), "ab"),
        (Filters(hosts=["other"]), ""),
        (Filters(hosts=["other"], everybody=True), "d"),
        (Filters(rooms=["https://example.test/room"]), "c"),
        (Filters(rooms=["https://example.test/other"]), ""),
    ],
)
def test_the_fleet_is_filtered_and_sorted(filters, shown):
    assert "".join(row["bot_id"] for row in rows_of(FLEET, 30, filters)) == shown


def test_a_row_tells_of_each_backend():
    figures = {"operations": {"WriteHeartbeat": 3, "ReadReceipt": 2}, "errors": {"ReadReceipt": 1}}
    store = {"redis": {**figures, "p50_ms": 0.2, "p99_ms": 1.5, "retries": 4, "fallbacks": 0}, "kept": 0}
    row = row_of(beat("a", health={"store": store, "backend": "redis"}), 30)
    assert row["backends"] == {
        "redis": {
            "operations": 5, "errors": 1, "p50_ms": 0.2, "p99_ms": 1.5, "retries": 4, "fallbacks": 0
        }
    }  # fmt: skip


def test_a_row_tells_what_ails_a_bot():
    health = {"backend": "redis", "store": {"reason": "OOM: Redis is full: raise maxmemory"}}
    row = row_of(beat("a", health=health, status="degraded"), 30)
    assert row["reason"] == note_of(row) == "OOM: Redis is full: raise maxmemory"
    assert note_of(row_of(beat("a", health=health), 30)) == ""


@pytest.mark.parametrize(
    "health", [{}, {"store": 1, "blocked": 2, "uptime_s": "x"}, {"store": {"redis": []}}]
)
def test_a_heartbeat_of_another_version_is_shown_as_far_as_it_is_understood(health):
    row = row_of(beat("a", health=health, status="blocked"), 30)
    assert (row["backends"], row["blocked"], row["uptime_s"]) == ({}, None, None)
    assert note_of(row) == "says nothing, though its process lives"
