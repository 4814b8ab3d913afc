"""Keys that hold another type than they should: somebody's mistake, which must stop nobody."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from .redis_errors import ErrorReply
from .redis_replies import check
from .redis_scripts import Call, Script, Step

_SET_ASIDE = Script("set_aside")
_SUFFIX = b"!bad"  # no bot id holds an exclamation mark, so this is nobody's key
_TYPES = {
    b"HSET": b"hash", b"RPUSH": b"list", b"LREM": b"list",
    b"ZADD": b"zset", b"ZREMRANGEBYSCORE": b"zset",
}  # fmt: skip


def set_aside(step: Step) -> Generator[Step, list[Any], list[str]]:
    """Rename every key of a step that is of the wrong type. Its value stays for a day.

    Args:
        step: a step that failed with WRONGTYPE.

    Returns:
        What was renamed, in words.
    """
    types: dict[bytes, bytes] = {}
    for command in step:
        if isinstance(command, Call):
            types.update(zip(command.keys, command.script.types, strict=False))
        elif command[0] in _TYPES and isinstance(command[1], bytes):
            types[command[1]] = _TYPES[command[0]]
    moved = []
    for key, kind in types.items():
        # In a cluster a key can only be renamed within its slot.
        for name in (key + _SUFFIX, b"%b:{%b}%b" % (key.partition(b":")[0], key, _SUFFIX)):
            (reply,) = yield [Call(_SET_ASIDE, (key, name), (kind,))]
            if not isinstance(reply, ErrorReply) or reply.code != "CROSSSLOT":
                break
        (found,) = check([reply])
        moved += [f"{text.decode(errors='replace')} to …{_SUFFIX.decode()}" for text in found]
    return moved
