"""What operators mend on Redis by hand: queues, and what is left of bots that ended."""

from __future__ import annotations

from botvisor import wire
from botvisor.errors import StoreError
from botvisor.mending import DropMessage, ForgetBot, RequeueMessage

from .redis_queues import keys_of
from .redis_replies import check
from .redis_scripts import Call, Plan, RedisCommand, Script

_MEND = Script("mend", b"list", b"list")
_FORGET, _TRIM = Script("forget", b"hash"), Script("trim_index", b"zset")


class RedisRepairs:
    """Mends what is on Redis."""

    def requeue(self, command: RequeueMessage) -> Plan:
        """See `RequeueMessage`. No bell rings: the queues are looked at each second."""
        size = len(command.raw)
        if not 0 < size <= wire.MAX_MESSAGE_BYTES:
            raise StoreError(
                f"it has {size} bytes, not 1 to {wire.MAX_MESSAGE_BYTES}: no bot would be shown it"
            )
        keys = keys_of(command.queue)
        call = Call(_MEND, (keys.queue, keys.dead), (command.entry.encode(), command.raw))
        (reply,) = check((yield [call]))
        return bool(reply)

    def drop(self, command: DropMessage) -> Plan:
        """See `DropMessage`."""
        keys = keys_of(command.queue)
        (reply,) = check((yield [Call(_MEND, (keys.queue, keys.dead), (command.entry.encode(), b""))]))
        return bool(reply)

    def forget(self, command: ForgetBot) -> Plan:
        """See `ForgetBot`: one that was started again meanwhile stays in the fleet's index, too."""
        bot_id, alive = command.bot_id, wire.ALIVE_KEY.encode()
        member, heartbeat = bot_id.encode(), wire.heartbeat_key(bot_id).encode()
        (score,) = check((yield [(b"ZSCORE", alive, member)]))
        (deleted,) = check((yield [Call(_FORGET, (heartbeat,), (command.instance.encode(),))]))
        if deleted < 0:
            return False
        step: list[RedisCommand] = [
            (b"DEL", wire.epitaph_key(bot_id).encode()),
            (b"DEL", wire.last_key(bot_id).encode()),
        ]
        if score is not None:
            step.append(Call(_TRIM, (alive,), (member, score)))
        return bool(deleted + sum(check((yield step))))
