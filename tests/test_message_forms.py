"""The forms of admin messages: which field of which writer means what."""

import json
import re

import pytest

from botvisor.messages import AdminMessage, decode_message
from botvisor.wire import MAX_ID_CHARS

ROOM = "https://example.daily.co/room"
NOW = 1_700_000_000.5
NOW_ISO = "2023-11-14T22:13:20.500000+00:00"
BASE = {
    "id": "admin_1700000000000_0a1b2c3d",
    "type": "admin_message",
    "timestamp": "2025-01-02T03:04:05+00:00",
    "room_url": ROOM,
    "message": "wrap up",
}
GATEWAY = BASE | {
    "mode": "immediate",
    "sender_id": "u1",
    "sender_name": "Ann",
    "session_id": "s1",
    "user_id": "u2",
    "user_name": "Bob",
    "context": {"sourceType": "user-text"},
}
DASHBOARD = {
    "id": "admin_1700000000000_abcdefghi",
    "type": "admin",
    "timestamp": "2025-01-02T03:04:05.678Z",
    "action": "mute",
    "fromAdmin": "Ann",
    "data": {"roomUrl": ROOM, "botPid": 4711},
}
FILE = {
    "prompt": "say hello",
    "senderId": "u1",
    "senderName": "Ann",
    "mode": "queued",
    "timestamp": 1700000000,
    "bot_pid": 4711,
    "room_url": ROOM,
}


def decode(value, **options):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decode_message(
        raw, **({"fallback_id": "fallback", "source": "test", "received_at": NOW} | options)
    )


def test_base_form():
    assert decode(BASE) == AdminMessage(
        id=BASE["id"],
        text="wrap up",
        sender_id=None,
        sender_name=None,
        mode="queued",
        timestamp=BASE["timestamp"],
        room_url=ROOM,
        data=BASE,
        redelivered=False,
        tries=1,
        source="test",
    )


def test_gateway_form():
    message = decode(GATEWAY)
    assert (message.mode, message.sender_id, message.sender_name) == ("immediate", "u1", "Ann")
    assert message.data == GATEWAY


def test_dashboard_form():
    message = decode(DASHBOARD)
    assert (message.text, message.room_url, message.mode) == ("mute", ROOM, "queued")
    assert (message.sender_id, message.sender_name) == ("Ann", "Ann")
    assert message.data == DASHBOARD


def test_a_dashboards_data_may_hold_text_sender_and_mode():
    data = {"message": "louder", "senderId": "u1", "senderName": "Bob", "mode": "direct"}
    message = decode(DASHBOARD | {"data": data})
    assert (message.text, message.sender_id, message.sender_name, message.mode) == (
        "louder", "u1", "Bob", "immediate",
    )  # fmt: skip


def test_a_dashboards_flag_is_no_sender():
    assert decode(DASHBOARD | {"fromAdmin": True}).sender_id is None


def test_file_form():
    message = decode(FILE)
    assert (message.id, message.text, message.sender_id, message.sender_name) == (
        "fallback", "say hello", "u1", "Ann",
    )  # fmt: skip
    assert message.timestamp == "2023-11-14T22:13:20+00:00"
    assert message.data == FILE


def test_a_file_may_hold_its_text_in_message():
    assert decode({"message": "hi", "bot_pid": 1}).text == "hi"


def test_a_blank_message_does_not_hide_the_prompt():
    assert decode({"message": " ", "prompt": "hi"}).text == "hi"


INNER = {
    "type": "admin_message",
    "id": "inner-id",
    "message": "inner",
    "sender_id": "u9",
    "sender_name": "Eve",
    "mode": "direct",
    "extra": [1],
}


@pytest.mark.parametrize("wrap", [json.dumps, dict, lambda inner: "\n " + json.dumps(inner)])
def test_a_wrapped_message_keeps_every_field(wrap):
    message = decode(BASE | {"message": wrap(INNER), "outer": 1})
    assert (message.text, message.sender_id, message.sender_name, message.mode) == (
        "inner", "u9", "Eve", "immediate",
    )  # fmt: skip
    assert message.data == BASE | INNER | {"id": BASE["id"], "outer": 1}


def test_the_outer_id_stays():
    assert decode(BASE | {"message": json.dumps(INNER)}).id == BASE["id"]


def test_an_inner_id_does_not_stand_in_for_a_missing_one():
    assert decode({"message": json.dumps(INNER)}).id == "fallback"


def test_outer_fields_stay_where_the_inner_message_has_none():
    message = decode(GATEWAY | {"message": json.dumps({"type": "admin_message", "prompt": "inner"})})
    assert (message.text, message.sender_id, message.mode) == ("inner", "u1", "immediate")


def test_a_message_wrapped_twice_is_unwrapped_twice():
    twice = {"type": "admin_message", "message": json.dumps(INNER)}
    assert decode(BASE | {"message": json.dumps(twice)}).text == "inner"


def test_a_note_event_needs_no_text():
    note = {"type": "note_context", "active_note_id": "n1", "participant_id": "p1"}
    wrapped = decode(BASE | {"message": json.dumps(note)})
    assert (wrapped.text, wrapped.data["active_note_id"]) == ("", "n1")
    assert "message" not in wrapped.data
    assert decode(note).data == note


@pytest.mark.parametrize(
    "text", ['{"type": "other", "message": "x"}', "{not json", '{"a": ' + "[" * 5000, "[1]"]
)
def test_text_that_only_looks_like_a_message_is_text(text):
    assert decode(BASE | {"message": text}).text == text


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("immediate", "immediate"), (" DIRECT ", "immediate"), ("queued", "queued"), ("later", "queued"),
     (None, "queued"), (True, "queued"), ({}, "queued")],
)  # fmt: skip
def test_modes(mode, expected):
    assert decode(BASE | {"mode": mode}).mode == expected


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05+00:00"),
        ("2025-01-02T03:04:05.5+02:00", "2025-01-02T01:04:05.500000+00:00"),
        ("2025-01-02T03:04:05", "2025-01-02T03:04:05+00:00"),
        (1700000000, "2023-11-14T22:13:20+00:00"),
        (1700000000500, NOW_ISO),
        (-1.5, "1969-12-31T23:59:58.500000+00:00"),
    ],
)
def test_timestamps_become_utc(timestamp, expected):
    assert decode(BASE | {"timestamp": timestamp}).timestamp == expected


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        0,
        "",
        "yesterday",
        True,
        [],
        {},
        1e300,
        10**30,
        -1e300,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59-14:00",
    ],
)
def test_what_is_no_time_becomes_the_time_of_receipt(timestamp):
    assert decode(BASE | {"timestamp": timestamp}).timestamp == NOW_ISO


def test_a_missing_timestamp_becomes_the_time_of_receipt():
    assert decode({"message": "hi"}).timestamp == NOW_ISO


@pytest.mark.parametrize(("value", "expected"), [("x", "x"), (12, "12"), (1.5, "1.5"), ("a b", "a b")])
def test_scalar_ids_are_kept_as_text(value, expected):
    assert decode(BASE | {"id": value}).id == expected


@pytest.mark.parametrize("value", [None, "", True, [], ["x"], {"x": 1}])
def test_what_is_no_id_is_replaced_by_the_fallback(value):
    message = decode(BASE | {"id": value})
    assert message.id == "fallback"
    assert message.data["id"] == value


@pytest.mark.parametrize("value", ["x" * (MAX_ID_CHARS + 1), "a\nb", "a\0b", 10**300])
def test_unwieldy_ids_are_hashed_alike(value):
    first, second = decode(BASE | {"id": value}), decode(GATEWAY | {"id": value})
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", first.id)
    assert first.id == second.id


def test_an_id_of_the_greatest_length_is_kept():
    assert decode(BASE | {"id": "x" * MAX_ID_CHARS}).id == "x" * MAX_ID_CHARS
