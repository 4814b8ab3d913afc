"""The identities of one room, as `main` reads and writes them, and their cache."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from .errors import ActorError, StoreUnavailable
from .identity import Identity
from .ref import Ref
from .stamps import stamp_of
from .store import CleanUpIdentities, ListIdentities, ReadIdentity, WriteIdentity
from .timers import Timers
from .wire import MAX_MESSAGE_BYTES

CACHED_S = 30.0  # writers that ring no bell are seen after this long
_CACHED_ENTRIES = 10_000
_TIMEOUT_S = 5.0
_NAMES_GROW = 6  # times at most, where JSON escapes them
_SURELY_FITS = MAX_MESSAGE_BYTES - 1_000  # which leaves room for the record's other fields


_NESTING = {dict, list}


class _Entry(NamedTuple):
    until: float
    identity: Identity


class IdentityCache:
    """What was read and written lately. It outlives the identity actor's incarnations.

    Args:
        timers: those of the supervisor. They forget what expires, so that no reader has to look at a clock.

    Attributes:
        copies: for each identity that is kept, what makes a dict of the caller's own of it.
        changes: how often `changed` was called.
    """

    def __init__(self, timers: Timers) -> None:
        self.copies: dict[str, Callable[[], dict[str, Any]]] = {}
        self.changes = 0
        self._timers = timers
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # the first expires first
        self._expires = False  # a timer is set for the first one, or for one before it

    def get(self, participant_id: str) -> Identity | None:
        """Return an identity that was put in within the last 30 seconds."""
        entry = self._entries.get(participant_id)
        return entry.identity if entry is not None and self._timers.now() < entry.until else None

    def put(self, identity: Identity) -> None:
        """Put an identity in, unless a later write of it is there."""
        who, present = identity.participant_id, self.get(identity.participant_id)
        if present is not None and identity.version() < present.version():
            return
        record = identity.merged()
        # One that nests would be shared by whoever reads it.
        plain = _NESTING.isdisjoint(map(type, record.values()))
        self.copies[who] = record.copy if plain else identity.merged
        self._entries[who] = _Entry(self._timers.now() + CACHED_S, identity)
        self._entries.move_to_end(who)
        if len(self._entries) > _CACHED_ENTRIES:
            del self.copies[self._entries.popitem(last=False)[0]]
        self._wait_for_first()

    def changed(self, participant_id: str | None) -> None:
        """Forget an identity that somebody changed; None stands for all of them."""
        self.changes += 1
        if participant_id is None:
            self.clear()
        else:
            self._entries.pop(participant_id, None)
            self.copies.pop(participant_id, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.copies.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def _wait_for_first(self) -> None:
        if not self._expires and self._entries:
            self._expires = True
            self._timers.at(next(iter(self._entries.values())).until, self._expire)

    def _expire(self) -> None:
        now, self._expires = self._timers.now(), False
        while self._entries and next(iter(self._entries.values())).until <= now:
            del self.copies[self._entries.popitem(last=False)[0]]
        self._wait_for_first()


class Identities:
    """What the processes of a room know of its participants.

    Args:
        room_url: the room, as the bot was given it.
        writer: the bot's instance.
        cache: hits are read from here, without a message.
        actor: the identity-cache actor.
    """

    def __init__(self, room_url: str, writer: str, cache: IdentityCache, actor: Ref[Any, Any]) -> None:
        self._room_url = room_url
        self._writer = writer
        self._copies = cache.copies
        self._actor = actor

    async def write(self, participant_id: str, data: Mapping[str, Any]) -> None:
        """Share what is known of a participant. The last writer wins; it is kept for 24 hours.

        Args:
            participant_id: the participant.
            data: what JSON can hold; usually `sessionUserId`, `sessionUserName`, `sessionUserEmail`.

        Raises:
            TypeError, ValueError: when it cannot be written as JSON, of at most 1 MiB.
            StoreUnavailable: when no store took it in time.
        """
        await self._ask(WriteIdentity(new_identity(self._room_url, participant_id, data, self._writer)))

    async def read(self, participant_id: str) -> dict[str, Any] | None:
        """Return what is known of a participant: his data with `participant_id`, `room_url`, `timestamp`.

        Args:
            participant_id: the participant.

        Returns:
            A dict of the caller's own, or None when nobody has written of him.

        Raises:
            StoreUnavailable: when it is not cached and no store answered in time.
        """
        # A hit is to cost little more than a dict: no call but these.
        copy = self._copies.get(participant_id)
        if copy is not None:
            return copy()
        identity = await self._ask(ReadIdentity(self._room_url, participant_id))
        return identity.merged() if identity is not None else None

    async def list(self) -> list[dict[str, Any]]:
        """Return what is known of everybody in the room.

        Raises:
            StoreUnavailable: when no store answered in time.
        """
        found = await self._ask(ListIdentities(self._room_url))
        return [identity.merged() for identity in found]

    async def cleanup(self) -> int:
        """Remove what has expired in this room.

        Returns:
            How many entries were removed.

        Raises:
            StoreUnavailable: when no store answered in time.
        """
        removed: int = await self._ask(CleanUpIdentities(self._room_url))
        return removed

    async def _ask(self, message: Any) -> Any:
        try:
            return await self._actor.ask(message, timeout=_TIMEOUT_S)
        except ActorError as error:
            raise StoreUnavailable(str(error)) from error


def new_identity(room_url: str, participant_id: str, data: Mapping[str, Any], writer: str) -> Identity:
    """Return the identity record of a write that happens now.

    Raises:
        TypeError: when data is no mapping, or holds what JSON cannot; when a name is no text.
        ValueError: when a text holds a lone surrogate, or the record is too large or nested too deeply.
    """
    if not isinstance(data, (dict, Mapping)):  # an abstract class alone takes its time
        raise TypeError(f"an identity's data is a mapping, not {type(data).__name__}")
    if not isinstance(participant_id, str):
        raise TypeError(f"a participant id is a text, not {type(participant_id).__name__}")
    for value in data.values():
        # So that half a gigabyte is not encoded only to be refused.
        if type(value) is str and len(value) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a text of {len(value)} characters, more than {MAX_MESSAGE_BYTES} bytes")
    try:
        raw = msgspec.json.encode(data if type(data) is dict else dict(data))
    except RecursionError:
        raise ValueError("an identity's data is nested too deeply") from None
    at_ms = int(time.time() * 1000)
    identity = Identity(
        participant_id=participant_id,
        room_url=room_url,
        timestamp=stamp_of(at_ms),
        data=msgspec.Raw(raw),
        updated_ms=at_ms,
        writer=writer,
    )
    # What cannot be written is to fail its caller alone.
    if len(raw) + _NAMES_GROW * (len(room_url.encode()) + len(participant_id.encode())) < _SURELY_FITS:
        return identity
    size = len(msgspec.json.encode(identity))
    if size > MAX_MESSAGE_BYTES:
        raise ValueError(f"the identity has {size} bytes, more than {MAX_MESSAGE_BYTES}")
    return identity
