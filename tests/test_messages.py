"""Admin messages: what is refused, whatever the bytes, and what we send."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from botvisor.errors import MalformedMessage
from botvisor.messages import compose_message, decode_message
from botvisor.wire import MAX_ID_CHARS, MAX_MESSAGE_BYTES, MAX_MESSAGE_DEPTH

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


def decode(value, **options):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return decode_message(
        raw, **({"fallback_id": "fallback", "source": "test", "received_at": NOW} | options)
    )


def compose(payload, **options):
    return compose_message(payload, **({"now": NOW, "token": "0a1b2c3d"} | options))


def test_delivery_is_passed_through():
    message = decode(BASE, tries=2, redelivered=True, source="redis")
    assert (message.tries, message.redelivered, message.source) == (2, True, "redis")


def test_a_message_cannot_be_changed():
    with pytest.raises(AttributeError):
        decode(BASE).text = "other"


def nested(depth):
    return b'{"message":"x","d":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_the_deepest_nesting_is_understood():
    assert decode(nested(MAX_MESSAGE_DEPTH)).text == "x"


def test_the_largest_message_is_understood():
    raw = json.dumps({"message": ""}).encode()
    text = "x" * (MAX_MESSAGE_BYTES - len(raw))
    assert decode({"message": text}).text == text


HOSTILE = {
    "nothing": b"",
    "white space": b" ",
    "no JSON": b"hello",
    "cut off": b'{"message": "hi"',
    "more than one": b'{"message":"a"}{"message":"b"}',
    "byte order mark": b'\xef\xbb\xbf{"message":"a"}',
    "null": b"null",
    "a list": b'[{"message":"a"}]',
    "a text": b'"message"',
    "a number": b"1",
    "an empty object": b"{}",
    "no text": b'{"id":"x","type":"admin_message"}',
    "blank text": b'{"message":" \\n"}',
    "text that is no text": b'{"message":["a"],"prompt":1}',
    "an object without a known type": b'{"message":{"message":"a"}}',
    "an empty wrapped message": json.dumps(BASE | {"message": '{"type":"admin_message"}'}).encode(),
    "not UTF-8": b'{"message":"\xff"}',
    "an encoded surrogate": b'{"message":"\xed\xa0\x80"}',
    "a lone surrogate": rb'{"message":"\ud800"}',
    "a lone surrogate before text": rb'{"message":"\ud800 and more text"}',
    "a low surrogate": rb'{"message":"\udc00 and more text"}',
    "a surrogate in a name": rb'{"message":"a","\ud800":1}',
    "NaN": b'{"message":"a","x":NaN}',
    "a huge number": b'{"message":"a","x":1e999}',
    "a 5,000-digit integer": b'{"message":"a","x":' + b"9" * 5000 + b"}",
    "a NUL": b'{"message":"a\0"}',
    "one level too deep": nested(MAX_MESSAGE_DEPTH + 1),
    "a depth bomb": b"[" * 500_000,
    "a depth bomb inside": b'{"message":"a","x":' + b'{"x":' * 100_000,
    "a depth bomb that is closed": nested(100_000),
    "too large": b'{"message":"' + b"x" * MAX_MESSAGE_BYTES + b'"}',
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_input_is_malformed_and_nothing_worse(raw):
    with pytest.raises(MalformedMessage) as caught:
        decode(raw)
    assert 0 < len(str(caught.value)) < 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=5,
)
KNOWN_NAMES = ["id", "type", "message", "prompt", "data", "timestamp", "mode", "sender_id", "senderName",
               "fromAdmin", "action", "room_url", "roomUrl"]  # fmt: skip
FIELDS = st.dictionaries(st.sampled_from(KNOWN_NAMES) | st.text(), JSON, max_size=8)
WRAPPED = st.builds(
    lambda outer, inner, kind: outer | {"message": json.dumps(inner | {"type": kind})},
    FIELDS, FIELDS, st.sampled_from(["note_context", "admin_message", "admin"]),
)  # fmt: skip
OBJECTS = (FIELDS | WRAPPED).map(lambda fields: json.dumps(fields).encode())
DAMAGED = st.builds(
    lambda raw, at, junk: raw[:at] + junk + raw[at:], OBJECTS, st.integers(0, 200), st.binary(max_size=4)
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(OBJECTS | DAMAGED | st.binary())
@example(b'{"message":"a","timestamp":-62135596800.1}')
def test_any_bytes_give_a_message_or_are_malformed(raw):
    try:
        message = decode(raw)
    except MalformedMessage:
        return
    assert message.id
    assert len(message.id) <= MAX_ID_CHARS
    assert message.mode in ("immediate", "queued")
    assert datetime.fromisoformat(message.timestamp).utcoffset() == UTC.utcoffset(None)
    assert all(isinstance(text, str) for text in (message.text, message.room_url, message.timestamp))


def test_a_composed_text_has_the_form_of_a_gateway():
    message_id, raw = compose("hi", room_url=ROOM, mode="immediate", sender_id="u1", sender_name="Ann")
    assert message_id == "admin_1700000000500_0a1b2c3d"
    assert json.loads(raw) == {
        "id": message_id,
        "type": "admin_message",
        "timestamp": "2023-11-14T22:13:20.500+00:00",
        "room_url": ROOM,
        "message": "hi",
        "mode": "immediate",
        "sender_id": "u1",
        "sender_name": "Ann",
    }


def test_a_composed_text_is_queued_unless_told_otherwise():
    assert json.loads(compose("hi")[1])["mode"] == "queued"


def test_a_composed_mapping_is_sent_as_it_is_with_what_it_lacks():
    message_id, raw = compose({"prompt": "hi", "extra": None, "timestamp": 1})
    assert json.loads(raw) == {
        "id": message_id, "type": "admin_message", "timestamp": 1, "prompt": "hi", "extra": None,
    }  # fmt: skip


def test_a_mappings_own_fields_are_never_replaced():
    message_id, raw = compose(
        GATEWAY, room_url="other", mode="queued", sender_id="other", sender_name="other"
    )
    assert message_id == GATEWAY["id"]
    assert json.loads(raw) == GATEWAY


@pytest.mark.parametrize("missing", [None, ""])
def test_an_empty_id_in_a_mapping_counts_as_missing(missing):
    message_id, raw = compose({"message": "hi", "id": missing})
    assert message_id == json.loads(raw)["id"] == "admin_1700000000500_0a1b2c3d"


@pytest.mark.parametrize("value", [12, "x" * 300, "a\nb"])
def test_the_returned_id_is_the_one_the_receiver_will_know(value):
    message_id, raw = compose({"message": "hi", "id": value})
    assert decode(raw).id == message_id


LOOP = {"message": "hi"}
LOOP["self"] = LOOP


@pytest.mark.parametrize(
    "payload",
    [
        "",
        " ",
        "\ud800",
        {},
        {"text": "not a field of the wire"},
        {"message": "hi", "id": ["x"]},
        {"message": "hi", "x": object()},
        {"message": "hi", "x": "\udfff"},
        {"message": "hi", ("a", "b"): 1},
        LOOP,
        "x" * MAX_MESSAGE_BYTES,
        json.dumps({"type": "admin_message"}),
    ],
    ids=lambda payload: repr(payload)[:30].encode("ascii", "replace").decode(),
)
def test_what_no_bot_could_read_is_refused_at_the_sender(payload):
    with pytest.raises(MalformedMessage):
        compose(payload)


SENDABLE = st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip)


@settings(derandomize=True, max_examples=500, deadline=None)
@given(SENDABLE, SENDABLE, st.sampled_from(["immediate", "queued"]), SENDABLE)
def test_what_is_composed_is_what_is_decoded(text, sender, mode, room_url):
    message_id, raw = compose(text, room_url=room_url, mode=mode, sender_id=sender, sender_name=sender)
    message = decode(raw)
    assert (message.id, message.text, message.mode, message.room_url, message.timestamp) == (
        message_id, text, mode, room_url, NOW_ISO,
    )  # fmt: skip
    assert message.sender_id == message.sender_name == sender
