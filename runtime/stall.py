"""A stall: the event loop stands still because something blocks its thread, and where that is."""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import msgspec

from .errors import BotvisorError

_STACK_LINES = 30
# The lines that faulthandler writes: the thread, then its frames, the innermost first.
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')
# How the stack of the main thread ends: a script, `python -m`, or too many frames for faulthandler.
_OUTERMOST = (" in <module>\n", " in _run_module_as_main\n", "  ...\n")
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_PACKAGES = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep)
# What runs everybody's tasks: a stall is hardly ever its fault, and it is in each stack.
_RUNNERS = tuple(str(Path(file).parent) + os.sep for file in (__file__, anyio.__file__))


class Place(msgspec.Struct, frozen=True):
    """A line of code.

    Args:
        file: its file.
        line: its number.
        function: the function that it is in.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Stall(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stall.

    Args:
        where: the innermost line that is not Python's own, anyio's or botvisor's, or else the innermost.
        stack: all of it, innermost line last; no local variables.
        for_s: how long it has lasted, in seconds.
    """

    where: Place
    stack: str
    for_s: float


def to_health(stall: Stall) -> dict[str, Any]:
    """Return what a heartbeat's ``health["blocked"]`` says of a stall."""
    place = msgspec.structs.asdict(stall.where)
    return {**place, "for_s": round(stall.for_s, 1), "stack": stall.stack}


class Blocked(BotvisorError):
    """The event loop was blocked, for the ledger.

    Args:
        stall: the stall.
    """

    def __init__(self, stall: Stall) -> None:
        self.stall = stall
        super().__init__(stall)

    def __str__(self) -> str:
        return f"the event loop stood still for {self.stall.for_s:.1f} s at {self.stall.where}"


def stall_of(thread: int, for_s: float) -> Stall | None:
    """Return the stall of a thread, or None if it has ended.

    Args:
        thread: its `threading.get_ident`.
        for_s: how long it has stalled, in seconds.
    """
    frame = sys._current_frames().get(thread)
    return _stall(_places(frame), for_s) if frame is not None else None


def read_dump(text: str, for_s: float) -> Stall | None:
    """Return the stall that faulthandler has dumped, or None if there is none in the text, or not yet.

    It writes line by line, so a reader may come in the middle: then the last thread so far is another one.

    Args:
        text: what it wrote; the main thread, which is the one that was armed, comes last.
        for_s: how long it has stalled, in seconds.
    """
    if not text.endswith(_OUTERMOST):
        return None
    last = text.rpartition("(most recent call first):")[2]
    found = [_FRAME.fullmatch(line) for line in last.splitlines()]
    places = [Place(each[1], int(each[2]), each[3]) for each in found if each is not None]
    return _stall(places, for_s) if places else None


def _places(frame: FrameType | None) -> list[Place]:
    places = []
    while frame is not None:
        places.append(Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
        frame = frame.f_back
    return places


def _stall(places: Sequence[Place], for_s: float) -> Stall:
    where = next((place for place in places if _is_authors(place.file)), places[0])
    lines = [f"  {place}" for place in places[:_STACK_LINES]]
    return Stall(where=where, stack="\n".join(reversed(lines)), for_s=round(for_s, 1))


def _is_authors(file: str) -> bool:
    if file.startswith("<"):
        return False
    installed = any(part in file for part in _PACKAGES)
    return not file.startswith(_RUNNERS) and (installed or not file.startswith(_STDLIB))
