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
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LINE_LIMIT = 500


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
        self._write("INFO", area, text)

    def warning(self, area: str, text: str) -> None:
        """Write that something is tried again, or goes on in a lesser way."""
        self._write("WARNING", area, text)

    def error(self, area: str, text: str) -> None:
        """Write that something failed."""
        self._write("ERROR", area, text)

    def timing(self, area: str, text: str) -> None:
        """Write how long something took, if ``logging.getLogger("redis_client")`` lets DEBUG through."""
        if _TIMINGS.isEnabledFor(logging.DEBUG):
            logger.opt(depth=1).bind(botvisor_timing=True).debug(self._line(area, text))

    def event(self, event: Event) -> None:
        """Write a lifecycle event down."""
        match event:
            case ChildStarted(child, generation):
                text = f"Started {child}" if generation == 1 else f"Restarted {child}"
                self._write("DEBUG" if generation == 1 else "INFO", "supervisor", text)
            case ChildFailed(child, error, message, delay_s, budget_left):
                busy = f" on {message}" if message else ""
                then = f"restarting in {delay_s:.2f} s, {budget_left} left"
                self._write(
                    "WARNING", "supervisor", f"{child} failed{busy}: {describe(error)} - {then}", error
                )
            case ChildExhausted(child, error, parked, probe_s):
                then = f"parked, tried again in {probe_s:g} s" if parked else "giving up"
                self._write(
                    "ERROR", "supervisor", f"{child} used up its restarts: {describe(error)} - {then}", error
                )
            case ChildStopped(child, reason):
                self._write("DEBUG", "supervisor", f"Stopped {child}: {reason}")
            case ChildStuck(child, waited_s, stack):
                line = self._line("supervisor", f"{child} still runs {waited_s:g} s after it was cancelled:")
                logger.opt(depth=1).log("ERROR", "{}\n{}", line, stack)
            case DeadLetters(child, count, types):
                kinds = ", ".join(types)
                self._write("WARNING", "supervisor", f"{child} left {count} messages unhandled: {kinds}")
            case _:
                self._write("DEBUG", "supervisor", repr(event))

    def _write(self, level: str, area: str, text: str, error: BaseException | None = None) -> None:
        line = self._line(area, text)
        if error is not None:
            # Formatted here: a host's sink that shows local variables would show secrets.
            line += "\n" + "".join(traceback.format_exception(error)).rstrip()
        logger.opt(depth=2).log(level, "{}", line)

    def _line(self, area: str, text: str) -> str:
        # Ids and rooms come from anybody: none of them may forge a line of its own.
        safe = _CONTROL_CHARACTERS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
        return f"[{self.backend}-{area}] {safe[:_LINE_LIMIT]}"


def configure(level: str | None) -> None:
    """Replace loguru's default sink by one on standard error.

    Args:
        level: the least level that is shown, a name or a number; None leaves loguru alone.
    """
    if level is None:
        return
    threshold = int(level) if level.isdigit() else logger.level(level.upper()).no

    def shown(record: Record) -> bool:
        return record["level"].no >= threshold or "botvisor_timing" in record["extra"]

    with contextlib.suppress(ValueError):  # somebody removed it already
        logger.remove(0)
    logger.add(sys.stderr, level=0, filter=shown, diagnose=False, backtrace=False)
