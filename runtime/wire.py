"""The wire contract in code: every key, channel, lifetime and file name of `docs/wire.md`."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

from botvisor.config.rules import valid_bot_id as valid_bot_id

from .room import room_hash

# Lifetimes, in seconds. The first three are older programs'; the others are our own choice.
HEARTBEAT_TTL_S = 30
IDENTITY_TTL_S = 86_400
ADMIN_TTL_S = 3_600
PROC_TTL_S = 7_200
DONE_TTL_S = 7_200  # longer than any resend, which ends with ADMIN_TTL_S
DEAD_TTL_S = 86_400
LEASE_TTL_S = 30
KEPT_TTL_S = 3_600
CONTROL_TTL_S = 300
ALIVE_TTL_S = 86_400
EPITAPH_TTL_S = 86_400
LAST_TTL_S = 86_400
IDENTITY_INDEX_TTL_S = 86_400
IDENTITY_SCAN_TTL_S = 60

# Limits, our own choice.
DEAD_LIMIT = 1_000
QUARANTINE_LIMIT = 100
MAX_MESSAGE_BYTES = 1_048_576
MAX_MESSAGE_DEPTH = 64  # known writers nest three deep; the parser's own limit moves with the caller's stack
MAX_ID_CHARS = 256
MAX_TRIES = 3

# The version in every object of ours.
VERSION = 1

# Fields of the hashes and of a control command; OWN_… are those that only botvisor writes.
HEARTBEAT_FIELDS = ("pid", "room_url", "participants", "timestamp")
OWN_HEARTBEAT_FIELDS = (
    "v", "bot_id", "host", "boot_id", "pid_ns", "start_ticks", "instance", "seq", "status", "health",
)  # fmt: skip
IDENTITY_FIELDS = ("participant_id", "room_url", "timestamp", "data")
OWN_IDENTITY_FIELDS = ("updated_ms", "writer")
PROC_FIELDS = ("token", "raw", "tries", "attempt")
OWNER_FIELDS = ("instance", "bot_id", "host", "boot_id", "pid_ns", "pid", "start_ticks")
CONTROL_FIELDS = ("v", "id", "command", "arguments", "sender")

# Names that stand alone.
BROADCAST_CHANNEL = "admin:broadcast"
ALIVE_KEY = "bots:alive"
IDENTITY_SCAN_KEY = "identity-index-scan"

# Directories inside the admin message directory.
TMP_DIR = ".tmp"
CLAIM_DIR = ".claim"
DONE_DIR = ".done"
BAD_DIR = ".bad"
DEAD_DIR = ".dead"
OUTBOX_DIR = "outbox"
CLOCK_FILE = ".clock"

MESSAGE_SUFFIX = ".json"
FORWARDED_MARK = "fwd."  # after whom a message's file is for: Redis has the message, too
STACK_SUFFIX = ".stack"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600

_UNSAFE_IN_ID = re.compile(r"[^A-Za-z0-9._]")
# A percent sign stands for itself nowhere, so two of them begin no percent-encoded id.
_LONG_ID = "%%"
_MAX_ENCODED_ID = 128 + len(_LONG_ID)  # room is left for what else stands in a file's name
_SHORTEN, _LENGTHEN = str.maketrans(":-", "+="), str.maketrans("+=", ":-")


# Redis, shared with older programs.


def heartbeat_key(bot_id: str) -> str:
    """Return the key of a bot's heartbeat."""
    return f"heartbeat:{bot_id}"


def identity_key(room_url: str, participant_id: str) -> str:
    """Return the key of a participant's identity; two pairs may share one, so a reader verifies."""
    return f"identity:{room_url}:{participant_id}"


def admin_channel(key: str) -> str:
    """Return the channel that rings for a bot id or a room URL."""
    return f"admin:bot:{key}"


def admin_queue(key: str) -> str:
    """Return the list of messages for a bot id or a room URL."""
    return f"admin:queue:{key}"


def prespawn_queue(canonical: str) -> str:
    """Return the list of messages for a canonical room that had no bot yet."""
    return admin_queue(f"pre-spawn:{canonical}")


# Redis, ours, for one queue. The braces are a Redis Cluster hash tag: they keep all of it in one slot.


def proc_key(queue: str) -> str:
    """Return the key of a queue's message in flight."""
    return f"admin:proc:{_tag(queue)}"


def done_key(queue: str) -> str:
    """Return the key of a queue's receipts, the ids that were handled."""
    return f"admin:done:{_tag(queue)}"


def dead_key(queue: str) -> str:
    """Return the key of a queue's dead letters."""
    return f"admin:dead:{_tag(queue)}"


def owner_key(queue: str) -> str:
    """Return the key of a queue's lease."""
    return f"admin:owner:{_tag(queue)}"


def kept_key(queue: str, message_id: str) -> str:
    """Return the key that shows that this Redis still knows a durable message."""
    return f"admin:kept:{_tag(queue)}:{message_id}"


def control_key(queue: str) -> str:
    """Return the list of control commands for the bot that serves a queue."""
    return f"admin:ctl:{_tag(queue)}"


def _tag(queue: str) -> str:
    # Redis takes the first closing brace for the tag's end, so a room's own braces must not be there.
    return "{" + queue.replace("{", "%7B").replace("}", "%7D") + "}"


# Redis, ours, for the fleet.


def epitaph_key(bot_id: str) -> str:
    """Return the key of a stopped bot's last words."""
    return f"bots:epitaph:{bot_id}"


def last_key(bot_id: str) -> str:
    """Return the key of a heartbeat that said something new: what is left of a bot that was killed."""
    return f"bots:last:{bot_id}"


def identity_index_key(room_url: str) -> str:
    """Return the key of the index of a room's participants."""
    return f"identity-index:{room_url}"


def identity_channel(room_url: str) -> str:
    """Return the channel on which a room's changed identities are named."""
    return f"identity-changed:{room_url}"


# Files. Every name is relative to its directory in the settings.


def encode_id(bot_id: str) -> str:
    """Return an id as it stands in file names: UTF-8, percent-encoded but for ``A-Za-z0-9._``.

    The dash is encoded too, because in a file's name the first dash after the id ends it. A bot's id that
    would be longer than 130 bytes then is ``%%`` and the id itself, with ``+`` for ``:`` and ``=`` for ``-``.
    """
    encoded = _UNSAFE_IN_ID.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")), bot_id
    )
    if len(encoded) > _MAX_ENCODED_ID and valid_bot_id(bot_id):
        return _LONG_ID + bot_id.translate(_SHORTEN)
    return encoded


def decode_id(name: str) -> str:
    """Return the id that stands so in a file's name: `encode_id` the other way round."""
    if name.startswith(_LONG_ID):
        bot_id = name.removeprefix(_LONG_ID).translate(_LENGTHEN)
        if encode_id(bot_id) == name:
            return bot_id
    return unquote(name)


def admin_prefix(bot_id: str) -> str:
    """Return how the names of a bot's message files begin."""
    return f"admin-{encode_id(bot_id)}-"


def room_prefix(canonical: str) -> str:
    """Return how the names of a canonical room's message files begin."""
    return f"room-{room_hash(canonical)}-"


def prespawn_prefix(canonical: str) -> str:
    """Return how the names of message files begin that were there before the room's bot."""
    return f"pre-spawn-{room_hash(canonical)}-"


def control_prefix(bot_id: str) -> str:
    """Return how the names of a bot's control files begin."""
    return f"ctl-{encode_id(bot_id)}-"


def lock_file(bot_id: str) -> str:
    """Return the name of the lock that stands for a bot's lease on its host."""
    return f"{encode_id(bot_id)}.lock"


def acks_file(bot_id: str) -> str:
    """Return the name of the log of what a bot handled while its store was away."""
    return f"{encode_id(bot_id)}.acks"


def outbox_path(sender: str) -> str:
    """Return the directory of a sender's durable messages."""
    name = encode_id(sender)
    # "." and ".." are ids, but as a directory they would be somebody else's.
    return f"{OUTBOX_DIR}/{name if name.strip('.') else name.replace('.', '%2E')}"


def heartbeat_file(bot_id: str) -> str:
    """Return the name of a bot's heartbeat file."""
    return f"{encode_id(bot_id)}.json"


def stack_file(bot_id: str) -> str:
    """Return the name of the file in which the watchdog leaves a blocked bot's stack."""
    return f"{encode_id(bot_id)}{STACK_SUFFIX}"


def identity_path(room_url: str, participant_id: str) -> str:
    """Return the path of an identity's file: both names hashed, so that nothing can climb out."""
    return f"{_sha256(room_url)}/{_sha256(participant_id)}.json"


def id_digest(text: str) -> str:
    """Return the name that stands for any text in file names: 32 hexadecimal digits of its SHA-256."""
    return _sha256(text)[:32]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
