"""The identity record: what one process knows of a participant, for the others."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

_LATEST_MS = 2**53  # what Redis's scripts can tell apart; anybody may have written more


class Identity(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A participant of a room.

    Args:
        participant_id: the participant, as the transport names it.
        room_url: the room, as the writer was given it.
        timestamp: when it was written, ISO 8601 in UTC.
        data: a JSON object, encoded.
        updated_ms: when it was written, in milliseconds since the epoch: the last writer wins.
        writer: the instance that wrote it; decides between two writes of one millisecond.
        v: the version of the fields that are ours.
    """

    participant_id: str
    room_url: str
    timestamp: str
    data: msgspec.Raw
    updated_ms: Annotated[int, msgspec.Meta(ge=0, le=_LATEST_MS)] = 0
    writer: str = ""
    v: int = 1

    def version(self) -> tuple[int, str]:
        """Return what decides between two writes: the greater one wins."""
        return (self.updated_ms, self.writer)

    def merged(self) -> dict[str, Any]:
        """Return the data, if it can be read, with the three fixed fields, which it never overrides."""
        try:
            data = msgspec.json.decode(self.data)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            data = None  # anybody may have written it: what cannot be read is not there
        record = data if isinstance(data, dict) else {}
        record["participant_id"] = self.participant_id
        record["room_url"] = self.room_url
        record["timestamp"] = self.timestamp
        return record
