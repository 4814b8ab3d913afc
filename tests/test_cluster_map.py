"""Slots, maps and redirections of a Redis Cluster."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botvisor import wire
from botvisor.actors.backend.cluster_map import (
    SLOTS,
    ClusterMap,
    Node,
    keys_in,
    read_map,
    redirect_in,
    slot_of,
    slot_of_all,
)
from botvisor.actors.backend.redis_errors import ErrorReply

ASKED = Node("asked.test", 7000)


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12_739),  # CRC-16/XMODEM of it is 0x31C3
        ("foo", 12_182),
        ("{foo}bar", 12_182),
        ("{foo", slot_of(b"{foo")),
        ("x{}foo", slot_of(b"x{}foo")),
        ("x{foo}{bar}", 12_182),
    ],
)
def test_a_slot_is_that_of_what_stands_in_the_first_braces(key, slot):
    assert slot_of(key.encode()) == slot
    assert slot_of(b"{}foo") != slot_of(b"foo")


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1).filter(lambda text: "{" not in text and "}" not in text))
def test_redis_py_finds_the_same_slots_and_a_queues_keys_share_one(text):
    from redis.crc import key_slot

    queue = wire.admin_queue(text)
    own = (wire.proc_key, wire.done_key, wire.dead_key, wire.owner_key, wire.control_key)
    keys = [queue.encode(errors="ignore"), *(of(queue).encode(errors="ignore") for of in own)]
    assert [slot_of(key) for key in keys] == [key_slot(key) for key in keys]
    assert slot_of_all(keys) == slot_of(keys[0])


def test_keys_of_several_slots_are_refused_and_so_is_a_room_with_braces():
    assert slot_of_all([b"a", b"b"]).code == "CROSSSLOT"
    assert "braces" in slot_of_all([b"admin:queue:https://example.test/{a}"]).text
    assert slot_of_all([]) is None


def test_the_keys_of_a_command_are_found():
    assert keys_in((b"PUBLISH", b"channel", b"x")) == ()
    assert keys_in((b"HSET", b"key", b"field", b"value")) == (b"key",)
    assert keys_in(("EXISTS", "a", "b")) == ("a", "b")
    assert keys_in((b"EVALSHA", b"sha", 2, b"a", b"b", b"argument")) == (b"a", b"b")


def test_a_map_knows_who_has_a_slot_and_what_has_moved_since():
    reply = [
        [8192, 16_383, [b"two.test", 7002, b"id", []], [b"replica.test", 7012, b"id"]],
        [0, 8190, [b"", 7001, b"id"]],
    ]
    found = read_map(reply, ASKED)
    one, two = Node("asked.test", 7001), Node("two.test", 7002)
    assert [found.node_of(slot) for slot in (0, 8190, 8191, 8192, SLOTS - 1)] == [one, one, None, two, two]
    assert found.primaries() == (one, two)
    moved = found.with_moved(8191, Node("three.test", 1)).with_moved(0, two)
    assert [moved.node_of(slot) for slot in (0, 1, 8191)] == [two, one, Node("three.test", 1)]
    assert ClusterMap().node_of(0) is None
    assert read_map([[0, 1, [None, 1]]], ASKED).primaries() == (Node("asked.test", 1),)
    with pytest.raises(ErrorReply):
        read_map(ErrorReply("NOPERM no"), ASKED)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("MOVED 3999 127.0.0.1:6381", (3999, Node("127.0.0.1", 6381), False)),
        ("ASK 3999 ::1:6381", (3999, Node("::1", 6381), True)),
        ("MOVED 3999 :6381", (3999, Node("asked.test", 6381), False)),
        ("MOVED 3999 ?:6381", (3999, Node("asked.test", 6381), False)),
        ("MOVED nowhere", None),
        ("TRYAGAIN later", None),
    ],
)
def test_a_redirection_is_read(text, found):
    assert redirect_in(ErrorReply(text), ASKED) == found
    assert redirect_in(b"OK", ASKED) is None
