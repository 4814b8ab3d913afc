"""Heartbeats as HSET sends them: most of what a bot says is what it said before, and is packed once."""

from __future__ import annotations

from typing import NamedTuple

from botvisor.wire import heartbeat_key

from .packed import begin, bulk

_REMEMBERED = 10_000
_NEWS = {name: bulk(name.encode()) for name in ("timestamp", "seq", "health")}  # in almost each heartbeat
# In place of the epitaph of an earlier run.
_NO_EPITAPH = "epitaph", b"null"


class _Same(NamedTuple):
    fields: dict[str, bytes]
    more: int
    packed: bytes


class PackedBeats:
    """Remembers how the last heartbeats of the bots of this process were packed."""

    def __init__(self) -> None:
        self._same: dict[str, _Same] = {}

    def hset(self, bot_id: str, fields: dict[str, bytes]) -> bytes:
        """Return the HSET of a heartbeat, packed.

        Args:
            bot_id: the bot.
            fields: the heartbeat's fields.
        """
        rest = fields.copy()
        news: list[bytes] = []
        for name, word in _NEWS.items():
            value = rest.pop(name, None)
            if value is not None:
                news += word, bulk(value)
        same = self._same.get(bot_id)
        if same is None or same.more != len(news) or same.fields != rest:
            same = self._pack(bot_id, rest, len(news))
        return b"".join((same.packed, *news))

    def _pack(self, bot_id: str, rest: dict[str, bytes], more: int) -> _Same:
        words = [b"HSET", heartbeat_key(bot_id).encode()]
        for name, value in rest.items() if "epitaph" in rest else (*rest.items(), _NO_EPITAPH):
            words += name.encode(), value
        if len(self._same) >= _REMEMBERED:
            self._same.clear()
        same = self._same[bot_id] = _Same(rest, more, begin(*words, more=more))
        return same
