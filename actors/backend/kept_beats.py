"""Which heartbeats are to outlive the thirty seconds of a heartbeat: those that say something new."""

from __future__ import annotations

import contextlib
import time

import msgspec

from botvisor.store import WriteHeartbeat

_AGAIN_S = 600.0
_REMEMBERED = 10_000


class _Ledger(msgspec.Struct):
    ledger: msgspec.Raw = msgspec.Raw(b"")


_News = tuple[bytes, bytes, bytes]  # the instance, the status and the ledger


class KeptBeats:
    """Remembers what was kept last of each bot of this process."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[_News, float]] = {}

    def is_due(self, command: WriteHeartbeat) -> bool:
        """Return whether a heartbeat says what the one that was kept last does not, or that one is old."""
        news, kept_at = self._kept.get(command.bot_id, (None, 0.0))
        return news != _news_in(command) or time.monotonic() - kept_at >= _AGAIN_S

    def note(self, command: WriteHeartbeat) -> None:
        """Remember that a heartbeat was kept."""
        if len(self._kept) >= _REMEMBERED:
            self._kept.clear()
        self._kept[command.bot_id] = (_news_in(command), time.monotonic())


def _news_in(command: WriteHeartbeat) -> _News:
    fields, ledger = command.fields, b""
    if health := fields.get("health"):
        with contextlib.suppress(msgspec.MsgspecError):
            ledger = bytes(msgspec.json.decode(health, type=_Ledger).ledger)
    return fields.get("instance", b""), fields.get("status", b""), ledger
