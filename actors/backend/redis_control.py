"""Control objects on Redis: a list for each bot, apart from its messages."""

from __future__ import annotations

from botvisor.errors import StoreError, StoreUnavailable
from botvisor.store import PushControl, TakeControl
from botvisor.wire import CONTROL_TTL_S, MAX_MESSAGE_BYTES, admin_queue, control_key

from .redis_errors import ErrorReply
from .redis_replies import check
from .redis_scripts import Plan

_TAKEN_AT_ONCE = 100


class RedisControl:
    """The control objects of all bots."""

    def __init__(self) -> None:
        # Taken, and perhaps still on the list: by key.
        self._lingering: dict[bytes, set[bytes]] = {}

    def push(self, command: PushControl) -> Plan:
        """See `PushControl`. It rings no bell: older bots take whatever comes on theirs for a message."""
        size = len(command.raw)
        if size > MAX_MESSAGE_BYTES:
            raise StoreError(f"the control object has {size} bytes, more than {MAX_MESSAGE_BYTES}")
        key = control_key(admin_queue(command.bot_id)).encode()
        try:
            check((yield [(b"RPUSH", key, command.raw), (b"EXPIRE", key, CONTROL_TTL_S)]))
        except ErrorReply as error:
            if error.code != "NOPERM":
                raise
            # Only operators may: that this user may not does not keep him from anything else.
            raise StoreError(f"this user of Redis may send no commands to bots: {error}") from error

    def take(self, command: TakeControl) -> Plan:
        """See `TakeControl`: read first and then removed, so that no lost reply loses one."""
        key = control_key(admin_queue(command.bot_id)).encode()
        (found,) = check((yield [(b"LRANGE", key, 0, _TAKEN_AT_ONCE - 1)]))
        lingering = self._lingering.pop(key, set())
        if not found:
            return []
        taken = dict.fromkeys(found)  # equal ones are one that was sent again: each has its own id
        try:
            check((yield [(b"LREM", key, 0, raw) for raw in taken]))
        except (ErrorReply, StoreUnavailable):
            self._lingering[key] = set(taken)
        return [raw for raw in taken if raw not in lingering]
