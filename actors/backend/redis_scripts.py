"""The Lua scripts, and the commands that a batch is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Sequence
from importlib import resources
from typing import Any, NamedTuple

import msgspec

from botvisor import wire

from .packed import Packed

_LIMITS = (
    "VERSION", "MAX_MESSAGE_BYTES", "MAX_ID_CHARS", "MAX_TRIES", "DEAD_LIMIT", "ADMIN_TTL_S", "PROC_TTL_S",
    "DONE_TTL_S", "DEAD_TTL_S", "LEASE_TTL_S", "IDENTITY_INDEX_TTL_S", "HEARTBEAT_TTL_S", "ALIVE_TTL_S",
)  # fmt: skip
_FOLDER = resources.files("botvisor.actors.backend").joinpath("scripts")
_COMMON = "".join(f"local {name} = {getattr(wire, name)}\n" for name in _LIMITS)
_COMMON += _FOLDER.joinpath("common.lua").read_text(encoding="utf-8")

Part = bytes | str | int


class Script:
    """A script, as its file has it.

    Args:
        name: its file's name, without the suffix.
        types: the type that each of its keys should have, such as ``hash``.
    """

    def __init__(self, name: str, *types: bytes) -> None:
        self.name = name
        self.types = types
        self.text = (_COMMON + _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")).encode()
        # Not for secrecy: Redis names scripts so.
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Call(msgspec.Struct, frozen=True):
    """A call of a script, as one of a step's commands."""

    script: Script
    keys: tuple[bytes, ...]
    arguments: tuple[Part, ...] = ()

    def by_name(self) -> tuple[Part, ...]:
        """Return the Redis command for a server that knows the script."""
        return (b"EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)

    def in_full(self) -> tuple[Part, ...]:
        """Return the Redis command that brings the script along."""
        return (b"EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


RedisCommand = tuple[Part, ...] | Call
Step = Sequence[RedisCommand]
"""Redis commands that are carried out together, and whose replies the plan waits for."""

Plan = Generator[Step, list[Any], Any]
"""How a store command is carried out: it yields steps, is sent their replies, and returns the result.

An error among the replies stands in its place, as the value it is.
"""


class Quick(NamedTuple):
    """How a store command is carried out as long as nothing goes wrong: one step, without a plan.

    Where something does, its plan begins from the start: a store command may be carried out twice.
    """

    step: Callable[[Any], Packed | None]
    """Returns the step, packed; None if only the plan will do."""
    finish: Callable[[Any, list[Any]], Any]
    """Is given the command and the replies, none of them an error; returns the result."""


def no_result(_command: Any, _replies: list[Any]) -> None:
    """The result of a command that has none."""
