"""Log lines: the shapes of the user's guide, and the one place where lifecycle events are written down.

botvisor adds no sink of its own to a host's loguru; only `run_bot(log_level=…)` replaces the default one.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING

from loguru import logger

from .errors import describe
from .events import (
    ChildExhausted,
    ChildFailed,
    ChildStarted,
    ChildStopped,
    ChildStuck,
    DeadLetters,
    Event,
)

if TYPE_CHECKING:
    from loguru import Record

# The guide's name: setting its level to DEBUG opens the timings. No handler is ever attached to it.
_TIMINGS = logging.getLogger("redis_client")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINE_LIMIT = 500  # characters
_DETAIL_LIMIT = 100  # lines

_sink = 0  # loguru's default one, until `configure` has put its own in its place


# Lines of the caller so many frames up, put together only if somebody reads them: a bot writes one for each
# operation.
_AT = {depth: logger.opt(depth=depth, lazy=True) for depth in (1, 2)}


class Log:
    """Writes lines such as ``[file-heartbeat] Sent heartbeat for bot 12345``.

    Args:
        backend: the first half of the bracket: ``redis``, ``file`` or ``memory``.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def debug(self, area: str, text: str) -> None:
        """Write a detail, such as a connection's."""
        self._write("DEBUG", area, text)

    def info(self, area: str, text: str) -> None:
        """Write that something succeeded, or that the backend changed."""
        # As `_write` does: there is one for each operation.
        _AT[1].log("INFO", "{}", lambda: self._line(area, text))

    def warning(self, area: str, text: str, detail: str = "") -> None:
        """Write that something is tried again, or goes on in a lesser way; `detail` may be several lines."""
        self._write("WARNING", area, text, detail)

    def error(self, area: str, text: str) -> None:
        """Write that something failed."""
        self._write("ERROR", area, text)

    @property
    def times(self) -> bool:
        """Whether timings are written."""
        return _TIMINGS.isEnabledFor(logging.DEBUG)

    def timing(self, area: str, text: str) -> None:
        """Write how long something took, if ``logging.getLogger("redis_client")`` lets DEBUG through."""
        if self.times:
            logger.opt(depth=1).bind(botvisor_timing=True).debug(self._line(area, text))

    def event(self, event: Event) -> None:
        """Write a lifecycle event down."""
        level, text, detail = _told(event)
        self._write(level, "supervisor", text, detail, depth=1)

    def _write(self, level: str, area: str, text: str, detail: str = "", *, depth: int = 2) -> None:
        _AT[depth].log(level, "{}", lambda: self._line(area, text) + _indented(detail))

    def _line(self, area: str, text: str) -> str:
        return f"[{self.backend}-{area}] {_safe(text)}"


def via(where: str) -> str:
    """Return the name that a line has for where a message was stored: ``Redis`` or ``files``.

    Args:
        where: what the store said.
    """
    if where == "redis":
        return "Redis"
    return "files" if where.startswith("spool@") else where


def configure(level: str | None) -> None:
    """Replace loguru's default sink by one on standard error.

    Args:
        level: the least level that is shown, a name or a number; None leaves loguru alone.

    Raises:
        ValueError: when there is no such level.
    """
    global _sink
    if level is None:
        return
    threshold = int(level) if level.isdigit() else logger.level(level.upper()).no

    def shown(record: Record) -> bool:
        return record["level"].no >= threshold or "botvisor_timing" in record["extra"]

    with contextlib.suppress(ValueError):  # somebody removed it already
        logger.remove(_sink)
    _sink = logger.add(sys.stderr, level=0, filter=shown, diagnose=False, backtrace=False)


def _told(event: Event) -> tuple[str, str, str]:
    """Return the level, the text, and further lines below it."""
    match event:
        case ChildStarted(child, 1):
            return "DEBUG", f"Started {child}", ""
        case ChildStarted(child):
            return "INFO", f"Restarted {child}", ""
        case ChildFailed(child, error, message, delay_s, budget_left):
            busy = f" on {message}" if message else ""
            then = f"restarting in {delay_s:.2f} s, {budget_left} left"
            return "WARNING", f"{child} failed{busy}: {describe(error)} - {then}", _traceback(error)
        case ChildExhausted(child, error, parked, probe_s):
            then = f"parked, tried again in {probe_s:g} s" if parked else "giving up"
            return "ERROR", f"{child} used up its restarts: {describe(error)} - {then}", _traceback(error)
        case ChildStopped(child, reason, BaseException() as error):
            return "WARNING", f"{child} failed as it stopped ({reason}): {describe(error)}", _traceback(error)
        case ChildStopped(child, reason):
            return "DEBUG", f"Stopped {child}: {reason}", ""
        case ChildStuck(child, waited_s, stack):
            return "ERROR", f"{child} still runs {waited_s:g} s after it was cancelled:", stack
        case DeadLetters(child, count, types):
            return "WARNING", f"{child} left {count} messages unhandled: {', '.join(types)}", ""
    return "DEBUG", repr(event), ""


def _traceback(error: BaseException) -> str:
    # Formatted here: a host's sink that shows local variables would show secrets.
    return "".join(traceback.format_exception(error))


def _indented(detail: str) -> str:
    # An error's own text may hold lines, too: none of them may look like one of the log's.
    lines = detail.rstrip().split("\n")[-_DETAIL_LIMIT:] if detail else []
    return "".join(f"\n  {_safe(line)}" for line in lines)


def _safe(text: str) -> str:
    # Ids and rooms come from anybody: none of them may forge a line of its own.
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)[:_LINE_LIMIT]
