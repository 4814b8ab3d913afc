"""docs/wire.md: dead letters, lines of `.acks` and keys that were put aside, as stores write them."""

import re

import msgspec
import pytest

from botvisor.actors.backend import spool_forwarder
from botvisor.actors.backend.acks import Ack
from botvisor.actors.backend.dead_letters import DeadLetter
from botvisor.store import BuryMessage, PushMessage
from botvisor.wire import DEAD_TTL_S, MAX_MESSAGE_BYTES, acks_file, lock_file

from . import redis_world
from .processes import ROOT
from .redis_world import QUEUE, Q

redis = redis_world.redis
anyio_backend = redis_world.one_loop

PAGE = (ROOT / "docs" / "wire.md").read_text()
CODE = re.compile(r"`([^`]+)`")
LETTERS = "admin:dead:{" + Q + "}"


def words(begins):
    """The words in backticks of the paragraph, or of the item, that begins so."""
    (text,) = re.findall(rf"^(?:- )?{re.escape(begins)}.*?(?=\n\n|\n- )", PAGE, re.MULTILINE | re.DOTALL)
    return set(CODE.findall(text))


def split(letter):
    line, _, raw = letter.partition(b"\n")
    return msgspec.json.decode(line), raw


async def test_a_dead_letter_on_redis_is_a_line_and_the_bytes(redis):
    documented = words("A *dead letter*")
    await redis.lease()
    await redis.push(b'{"message":"hello"}')
    claim = await redis.take()
    await redis.ask(BuryMessage(QUEUE, "one", claim.token, "not liked"))
    redis.client.rpush(Q, b"x" * (MAX_MESSAGE_BYTES + 1))
    await redis.take()
    given_up, too_large = redis.client.lrange(LETTERS, 0, -1)
    fields, raw = split(given_up)
    assert (raw, fields["reason"], fields["name"]) == (b'{"message":"hello"}', "not liked", claim.token)
    assert fields.keys() - {"malformed"} == {"v", "reason", "tries", "at_ms", "name"}
    large, raw = split(too_large)
    assert (large["size"], len(raw)) == (MAX_MESSAGE_BYTES + 1,) * 2
    assert fields.keys() | large.keys() <= documented


async def test_a_key_of_another_type_is_renamed(redis):
    redis.client.set(Q, "not a list")
    await redis.ask(PushMessage(QUEUE, "m", b'{"message":"hello"}'))
    assert redis.client.get(f"{Q}!bad") == b"not a list"
    assert 0 < redis.client.ttl(f"{Q}!bad") <= DEAD_TTL_S
    assert "!bad" in words("A key that holds another type")
    assert f"for {DEAD_TTL_S} s" in PAGE


@pytest.mark.parametrize(
    ("begins", "kind", "more"),
    [("`ID.acks`", Ack, {acks_file("ID")}), ("A file in `.dead`", DeadLetter, {".dead"})],
)
def test_the_fields_of_files_are_those_of_the_code(begins, kind, more):
    assert words(begins) == set(kind.__struct_fields__) | more


def test_the_lock_of_whoever_forwards_is_named():
    assert f"`{spool_forwarder._LEASE}.lock`" in PAGE
    assert lock_file(spool_forwarder._LEASE) != f"{spool_forwarder._LEASE}.lock"  # so it is no bot's
