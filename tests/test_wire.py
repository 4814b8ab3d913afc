"""docs/wire.md and the code say the same; what names must keep apart, they keep apart."""

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings, strategies

from botvisor import message_forms, wire
from botvisor.config import load_settings
from botvisor.config.env import FALSE_WORDS, TRUE_WORDS, VARIABLES
from botvisor.config.rules import URL_SCHEMES
from botvisor.messages import compose_message, decode_message
from botvisor.room import canonical_room, room_hash

DOCUMENT = (Path(__file__).parents[1] / "docs" / "wire.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
ROOM = "https://example.daily.co/room"
FORMS = {
    "base": ("id", "type", "timestamp", "room_url", "message"),
    "gateway": (
        "id", "type", "timestamp", "room_url", "message", "mode", "sender_id", "sender_name",
        "session_id", "user_id", "user_name", "context",
    ),
    "dashboard": ("id", "type", "timestamp", "action", "fromAdmin", "data"),
    "note": ("type", "room_url", "action"),
    "file": ("prompt", "senderId", "senderName", "mode", "timestamp", "bot_pid", "room_url"),
}  # fmt: skip
NO_LIFETIME = "\N{EN DASH}"


def table(heading):
    """Return the rows of the first table under a heading, without its head."""
    section = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", DOCUMENT, re.M | re.S)
    assert section, f"no heading {heading!r}"
    return rows(section[1])


def table_headed(*columns):
    """Return the rows of the table with exactly these columns."""
    head = "| " + " | ".join(columns) + " |\n"
    assert DOCUMENT.count(head) == 1, f"not one table headed {head!r}"
    return rows(DOCUMENT[DOCUMENT.index(head) :])


def rows(text):
    block = re.search(r"((?:^\|.*\n)+)", text, re.M)[1]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()[2:]]


def codes(cell):
    return tuple(CODE.findall(cell))


def lifetimes(heading):
    return {codes(row[0])[0]: row[2] for row in table(heading)}


def s(seconds):
    return f"{seconds} s"


def test_shared_redis_names_and_lifetimes_match():
    assert lifetimes("Shared with older programs") == {
        wire.heartbeat_key("{bot_id}"): s(wire.HEARTBEAT_TTL_S),
        wire.identity_key("{room_url}", "{participant_id}"): s(wire.IDENTITY_TTL_S),
        wire.admin_channel("{key}"): NO_LIFETIME,
        wire.admin_queue("{key}"): s(wire.ADMIN_TTL_S),
        wire.prespawn_queue("{canonical}"): s(wire.ADMIN_TTL_S),
        wire.BROADCAST_CHANNEL: NO_LIFETIME,
    }


def test_queue_names_and_lifetimes_match():
    assert lifetimes("One queue") == {
        wire.proc_key("QUEUE"): s(wire.PROC_TTL_S),
        wire.done_key("QUEUE"): s(wire.DONE_TTL_S),
        wire.dead_key("QUEUE"): s(wire.DEAD_TTL_S),
        wire.owner_key("QUEUE"): s(wire.LEASE_TTL_S),
        wire.kept_key("QUEUE", "ID"): s(wire.KEPT_TTL_S),
        wire.control_key("QUEUE"): s(wire.CONTROL_TTL_S),
    }


def test_fleet_names_and_lifetimes_match():
    assert lifetimes("The fleet") == {
        wire.ALIVE_KEY: s(wire.ALIVE_TTL_S),
        wire.last_key("{bot_id}"): s(wire.LAST_TTL_S),
        wire.epitaph_key("{bot_id}"): s(wire.EPITAPH_TTL_S),
        wire.identity_index_key("{room_url}"): s(wire.IDENTITY_INDEX_TTL_S),
        wire.IDENTITY_SCAN_KEY: s(wire.IDENTITY_SCAN_TTL_S),
        wire.identity_channel("{room_url}"): NO_LIFETIME,
    }


@pytest.mark.parametrize("heading", ["Shared with older programs", "One queue", "The fleet"])
def test_only_channels_have_no_lifetime(heading):
    for name, kind, lifetime, _ in table(heading):
        assert (kind == "channel") == (lifetime == NO_LIFETIME), name


def test_field_names_match():
    assert {row[0]: (codes(row[1]), codes(row[2])) for row in table("Fields")} == {
        "heartbeat": (wire.HEARTBEAT_FIELDS, wire.OWN_HEARTBEAT_FIELDS),
        "identity": (wire.IDENTITY_FIELDS, wire.OWN_IDENTITY_FIELDS),
        "message in flight": ((), wire.PROC_FIELDS),
        "lease": ((), wire.OWNER_FIELDS),
        "control command": ((), wire.CONTROL_FIELDS),
    }
    assert f"`v` is {wire.VERSION}." in DOCUMENT


def test_file_names_match():
    admin, heartbeats, identities = "BOT_ADMIN_MESSAGE_DIR", "BOT_HEARTBEAT_DIR", "BOT_IDENTITY_DIR"
    any_file = "ANY" + wire.MESSAGE_SUFFIX
    hashed = room_hash(canonical_room(ROOM))
    expected = {
        wire.admin_prefix("ID") + any_file: admin,
        wire.admin_prefix("ID") + wire.FORWARDED_MARK + any_file: admin,
        wire.prespawn_prefix(ROOM).replace(hashed, "HASH") + any_file: admin,
        wire.room_prefix(ROOM).replace(hashed, "HASH") + any_file: admin,
        wire.control_prefix("ID") + any_file: admin,
        wire.lock_file("ID"): admin,
        wire.acks_file("ID"): admin,
        wire.outbox_path("ID"): admin,
        wire.heartbeat_file("ID"): heartbeats,
        wire.stack_file("ID"): heartbeats,
        "ROOM/PARTICIPANT.json": identities,
    }
    expected |= dict.fromkeys(
        [wire.CLOCK_FILE, wire.TMP_DIR, wire.CLAIM_DIR, wire.DONE_DIR, wire.BAD_DIR, wire.DEAD_DIR], admin
    )
    documented = {codes(row[0])[0]: codes(row[1])[0] for row in table("Files")}
    assert documented == expected
    assert set(documented.values()) <= set(VARIABLES)


def test_file_modes_match():
    assert f"mode {wire.DIRECTORY_MODE:04o}" in DOCUMENT
    assert f"mode {wire.FILE_MODE:04o}" in DOCUMENT


def test_room_examples_are_true():
    examples = table("Canonical room")
    assert len(examples) >= 6
    for written, canonical, hashed in ((codes(cell)[0] for cell in row) for row in examples):
        assert canonical_room(written) == canonical
        assert room_hash(canonical) == hashed


def test_message_attributes_match():
    documented = {row[0]: codes(row[1]) for row in table_headed("Attribute", "Names", "If none is there")}
    assert documented == {
        "id": ("id",),
        "text": message_forms.TEXT_FIELDS,
        "sender id": message_forms.SENDER_ID_FIELDS,
        "sender name": message_forms.SENDER_NAME_FIELDS,
        "mode": message_forms.MODE_FIELDS,
        "time": ("timestamp",),
        "room": message_forms.ROOM_FIELDS,
    }
    fallbacks = {row[0]: codes(row[2]) for row in table_headed("Attribute", "Names", "If none is there")}
    assert fallbacks["text"] == (message_forms.ACTION_FIELD, "type", message_forms.NOTE_TYPE)
    assert fallbacks["mode"] == (
        decode_message(b'{"message":"x"}', fallback_id="", source="", received_at=0).mode,
    )
    assert fallbacks["sender id"] == fallbacks["sender name"] == (message_forms.ADMINISTRATOR_FIELD,)


def test_the_forms_are_those_of_the_writers_we_know():
    assert {row[0]: codes(row[1]) for row in table_headed("Form", "Fields")} == FORMS


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_understood(form):
    types = {"note": message_forms.NOTE_TYPE, "dashboard": "admin"}
    fields = {name: f"the {name}" for name in FORMS[form]} | {"type": types.get(form, "admin_message")}
    if form == "dashboard":
        fields["data"] = {"roomUrl": "the room_url"}
    raw = msgspec.json.encode(fields)
    message = decode_message(raw, fallback_id="none", source="test", received_at=0)
    text = next(name for name in ("message", "prompt", "action") if name in fields)
    assert (message.text, message.room_url, message.data) == (f"the {text}", "the room_url", fields)


def test_what_we_write_is_the_base_with_fields_of_the_gateway():
    _, raw = compose_message("hi", now=0, token="0a1b2c3d", sender_id="u1", sender_name="Ann")
    written = set(msgspec.json.decode(raw))
    assert set(FORMS["base"]) <= written <= set(FORMS["gateway"])


def test_limits_match():
    assert {row[0]: int(row[1]) for row in table_headed("Limit", "Value")} == {
        "bytes in a message": wire.MAX_MESSAGE_BYTES,
        "levels of nesting": wire.MAX_MESSAGE_DEPTH,
        "characters of an id": wire.MAX_ID_CHARS,
        "tries before a message is given up": wire.MAX_TRIES,
        "entries in a queue's dead letters": wire.DEAD_LIMIT,
        "files in `.bad`": wire.QUARANTINE_LIMIT,
    }


def test_variables_and_defaults_match():
    documented = {codes(row[0])[0]: "".join(codes(row[1])) for row in table("Environment")}
    assert documented == {name: variable.default for name, variable in VARIABLES.items()}


def test_documented_words_match():
    assert f"`{' '.join(TRUE_WORDS)}` or `{' '.join(FALSE_WORDS)}`" in DOCUMENT
    url = next(row for row in table("Environment") if codes(row[0]) == ("REDIS_URL",))
    assert tuple(code.partition("://")[0] for code in codes(url[2])) == URL_SCHEMES
    for word in (*message_forms.IMMEDIATE_MODES, *message_forms.WRAPPED_TYPES):
        assert f"`{word}`" in DOCUMENT


def test_documented_defaults_are_what_an_empty_environment_gives():
    # REDIS_DB is the exception: set, it beats the URL's database; unset, it leaves it alone.
    written_out = {name: v.default for name, v in VARIABLES.items() if v.default and name != "REDIS_DB"}
    assert load_settings(written_out) == load_settings({})


def test_braces_of_a_room_cannot_end_the_hash_tag_early():
    key = wire.proc_key(wire.admin_queue("https://example.daily.co/{a}b"))
    assert key == "admin:proc:{admin:queue:https://example.daily.co/%7Ba%7Db}"


def test_an_id_in_a_file_name_holds_no_dash():
    assert wire.admin_prefix("host-1:2.3_x") == "admin-host%2D1%3A2.3_x-"


def test_ids_that_begin_alike_have_separate_files():
    assert not wire.admin_prefix("12-3").startswith(wire.admin_prefix("12"))


@settings(max_examples=200)
@given(strategies.from_regex(r"[A-Za-z0-9._:-]{1,128}|[:-]{100,128}", fullmatch=True))
def test_any_bot_id_is_told_by_its_file_names_and_leaves_room_in_them(bot_id):
    encoded = wire.encode_id(bot_id)
    assert wire.decode_id(encoded) == bot_id
    assert len(encoded) <= 130
    assert "-" not in encoded


def test_only_an_id_that_would_be_too_long_is_written_otherwise():
    assert wire.encode_id("x" * 127 + "-") == "x" * 127 + "%2D"
    assert wire.encode_id(":" * 43) == "%3A" * 43
    assert wire.encode_id("-:" * 22) == "%%" + "=+" * 22
    assert wire.decode_id("%%a+b") == "%%a+b"  # nobody's: it would not be written so


@pytest.mark.parametrize("sender", [".", "..", "../../etc", "a/b", "\0", "é", "\ud800"])
def test_an_outbox_stays_inside_its_directory(sender):
    top, _, name = wire.outbox_path(sender).partition("/")
    assert top == wire.OUTBOX_DIR
    assert re.fullmatch(r"[A-Za-z0-9._%]+", name)
    assert name.strip(".")


@pytest.mark.parametrize("text", ["../../etc/passwd", "\0", "x" * 5000, "\ud800", "", "é"])
def test_an_identity_path_is_two_hashes_whatever_the_names(text):
    assert re.fullmatch(r"[0-9a-f]{64}/[0-9a-f]{64}\.json", wire.identity_path(text, text))


def test_identities_with_one_key_have_separate_files():
    assert wire.identity_key("a:b", "c") == wire.identity_key("a", "b:c")
    assert wire.identity_path("a:b", "c") != wire.identity_path("a", "b:c")


@pytest.mark.parametrize("text", ["1", "host-1.2", "A:b_c", "x" * 128])
def test_a_bot_id_of_the_allowed_characters_is_valid(text):
    assert wire.valid_bot_id(text)


@pytest.mark.parametrize("text", ["", "x" * 129, "a b", "a/b", "é", "a\n", "{a}", "%41"])
def test_any_other_bot_id_is_not(text):
    assert not wire.valid_bot_id(text)
