"""Whatever bytes come from Redis or lie in a directory, each reader gives a value or its documented error."""

import os
import time
from pathlib import Path

import anyio
import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from botvisor import liveness, message_forms, stall
from botvisor.actors.backend import redis_heartbeats, redis_queue_views
from botvisor.actors.backend.files import FileStore
from botvisor.config import Settings
from botvisor.control import decode_control
from botvisor.errors import MalformedMessage, StoreError
from botvisor.heartbeat import Heartbeat, from_hash, from_json
from botvisor.identity import Identity
from botvisor.messages import compose_message
from botvisor.process import own
from botvisor.store import (
    AcquireLease,
    CleanUpIdentities,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    Queue,
    ReadHeartbeat,
    ReadIdentity,
    ReadPast,
    ReadReceipt,
    Sweep,
    TakeControl,
)
from botvisor.wire import identity_path

from .anything import JSON, SCALARS, WORDS, encoded, objects, read_or, tried

FIELDS = Heartbeat.__struct_fields__
QUEUE = Queue("bot", "4711")


@tried(150)
@given(objects([*message_forms.TEXT_FIELDS, "id", "type", "data"], st.text() | JSON), st.text(max_size=9))
def test_any_mapping_is_composed_or_refused(payload, room_url):
    read_or(MalformedMessage, lambda: compose_message(payload, room_url=room_url, now=1.0, token="0" * 8))


COMMANDS = JSON | st.sampled_from(["stop", "stack", "restart"])


@tried(150)
@given(encoded(objects(["id", "command", "arguments", "sender", "v"], COMMANDS)))
def test_any_bytes_are_a_control_command_or_malformed(raw):
    control = read_or(MalformedMessage, decode_control, raw)
    assert control is None or str(control)


@tried(150)
@given(encoded(objects(FIELDS)), st.dictionaries(st.sampled_from(FIELDS), encoded(SCALARS)))
def test_any_bytes_are_a_heartbeat_or_malformed(raw, fields):
    for beat in (read_or(MalformedMessage, from_json, raw), read_or(MalformedMessage, from_hash, fields)):
        assert beat is None or liveness.status(beat, 30) is not None


@tried(100)
@given(encoded(objects(["ended_ms", "reason", *FIELDS])))
def test_any_bytes_are_last_words_or_malformed(raw):
    read_or(MalformedMessage, redis_heartbeats._decode_epitaph, raw)


@tried(100)
@given(encoded(JSON))
def test_any_data_leaves_an_identitys_fixed_fields(raw):
    identity = Identity(participant_id="p", room_url="r", timestamp="t", data=msgspec.Raw(raw))
    assert identity.merged()["participant_id"] == "p"


@tried(100)
@given(encoded(objects(["reason", "malformed", "tries", "name"])), st.sampled_from([b"dead", b"stored"]))
def test_any_entry_of_a_list_is_shown(raw, state):
    assert redis_queue_views._queued(state, raw, b"\xff", 1, b"0" * 40).state == state.decode()


FRAMES = st.builds('  File "{}", line {} in {}'.format, WORDS, st.integers(), WORDS)
LINES = st.lists(WORDS | FRAMES | st.just("(most recent call first):"), max_size=6)


@tried(100)
@given(LINES.map("\n".join))
def test_any_text_is_a_stack_dump_or_none(text):
    assert stall.read_dump(text, 1.0) is None  # nothing tells that it is whole
    whole = f'{text}\n  File "bot.py", line 1 in <module>\n'
    assert str(stall.read_dump(whole, 1.0).where)


NAMES = [
    *("admin-4711-a.json", "admin-4711-fwd.b.json", "ctl-4711-a.json", "room-24b9eef20713-a.json"),
    *(".claim/4711/1.r.admin-4711-c.json", ".claim/4711/x", ".done/4711/1764000000000/0"),
    *(".done/a", f".dead/4711.{0:032x}.{0:032x}.json", ".bad/a"),
    *("4711.acks", "4711.lock", ".clock", "outbox/x/a.json", "outbox/x.lock"),
    *("../heartbeat/4711.json", "../heartbeat/4711.stack", f"../identity/{identity_path('r', 'p')}"),
]
CONTENT = encoded(
    objects(
        [
            *(
                "id",
                "message",
                "v",
                "kind",
                "key",
                "token",
                "at_ms",
                "boot_id",
                "boot_s",
                "wall_s",
                "since_s",
            ),
            *("reason", "queue", "name", "bytes", "tries", "stored_at", "participant_id", "room_url", "data"),
            *("timestamp", "updated_ms", "writer", "pid", "participants"),
        ]
    )
)
WHOLE = {  # with which those that can be read begin
    "4711.acks": {"kind": "bot", "key": "4711", "token": "t", "id": "i", "at_ms": 1},
    ".clock": {"boot_id": "b", "boot_s": 1.0, "wall_s": 1.0, "since_s": 1.0},
    "../heartbeat/4711.json": {
        "pid": 1,
        "room_url": "",
        "participants": [],
        "timestamp": "",
        "bot_id": "4711",
    },
    f"../identity/{identity_path('r', 'p')}": {
        "participant_id": "p",
        "room_url": "r",
        "timestamp": "t",
        "data": {},
        "updated_ms": 1,
        "writer": "w",
    },
}
NEARLY = st.sampled_from(list(WHOLE)).flatmap(
    lambda name: objects(WHOLE[name]).map(lambda more: (name, msgspec.json.encode({**WHOLE[name], **more})))
)


@tried(60)
@given(st.lists(st.tuples(st.sampled_from(NAMES), CONTENT) | NEARLY, max_size=5).map(dict))
@example({name: msgspec.json.encode({**whole, "updated_ms": 10**400}) for name, whole in WHOLE.items()})
def test_directories_full_of_anything_are_served_or_unavailable(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("any")
    for name, raw in contents.items():
        path = Path(os.path.normpath(folder / "admin_message" / name))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(raw)
        os.utime(path, (1e9, time.time() - 10))
    names = ("admin_message", "heartbeat", "identity")
    store = FileStore(Settings(**{f"{name}_dir": folder / name for name in names}))
    commands = [
        *(ListMessages(QUEUE), ReadReceipt(QUEUE, "a"), AcquireLease(QUEUE, own("4711", "i"))),
        *(ReadPast(QUEUE, "i"), *(NextMessage(QUEUE, "i", f"r{number}", None) for number in range(5))),
        *(TakeControl("4711"), ListHeartbeats(), ReadHeartbeat("4711"), ReadHeartbeat("4711", living=True)),
        *(ReadIdentity("r", "p"), ListIdentities("r"), CleanUpIdentities("r"), Sweep()),
    ]
    answers = anyio.run(store.execute, commands)
    for command, answer in zip(commands, answers, strict=True):
        assert not isinstance(answer, Exception) or isinstance(answer, StoreError), (command, answer)
    read_or(StoreError, store.outbox.adopt)
    store.close()
