"""How each command is carried out on Redis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from botvisor import process
from botvisor.mending import DropMessage, ForgetBot, ListDumps, ReadFacts, RequeueMessage
from botvisor.store import (
    AcquireLease,
    Broadcast,
    BuryMessage,
    CleanUpIdentities,
    Command,
    IsKept,
    IsServed,
    ListHeartbeats,
    ListIdentities,
    ListMessages,
    NextMessage,
    PushControl,
    PushMessage,
    ReadHeartbeat,
    ReadIdentity,
    ReadPast,
    ReadReceipt,
    ReleaseLease,
    ReturnMessage,
    Sweep,
    TakeControl,
    WriteHeartbeat,
    WriteIdentity,
)

from .cluster_links import ClusterLinks
from .link import Link
from .redis_bells import Bells
from .redis_control import RedisControl
from .redis_facts import RedisFacts
from .redis_heartbeats import RedisHeartbeats
from .redis_identities import RedisIdentities
from .redis_notices import Notices
from .redis_queue_views import RedisQueueViews
from .redis_queues import RedisQueues
from .redis_repairs import RedisRepairs
from .redis_scripts import Plan, Quick
from .redis_strays import Strays


class Planners(NamedTuple):
    """What makes a plan of each kind of command, and for some kinds what does without one."""

    plans: dict[type[Command], Callable[[Any], Plan]]
    quick: dict[type[Command], Quick]


def planners(
    server_ms: Callable[[], int],
    link: Callable[[], Link | ClusterLinks | None],
    bells: Bells,
    notices: Notices,
) -> Planners:
    """Return how each kind of command is carried out.

    Args:
        server_ms: the server's time, in milliseconds since the epoch.
        link: returns the link that plans are carried out on.
        bells: rings when a message is there.
        notices: told of what cannot be used.
    """
    heartbeats = RedisHeartbeats(server_ms, notices)
    strays = Strays(process.new_instance(), server_ms, notices)
    identities = RedisIdentities(strays, server_ms, bells, notices)
    queues, views, repairs = RedisQueues(bells, notices), RedisQueueViews(), RedisRepairs()
    control, facts = RedisControl(), RedisFacts(link)
    quick: dict[type[Command], Quick] = {
        WriteHeartbeat: heartbeats.quick_write,
        WriteIdentity: identities.quick_write,
        ReadIdentity: identities.quick_read,
        PushMessage: queues.quick_push,
    }
    plans: dict[type[Command], Callable[[Any], Plan]] = {
        WriteHeartbeat: heartbeats.write,
        ReadHeartbeat: heartbeats.read,
        ListHeartbeats: heartbeats.list_all,
        WriteIdentity: identities.write,
        ReadIdentity: identities.read,
        ListIdentities: identities.list_all,
        CleanUpIdentities: identities.clean_up,
        PushMessage: queues.push,
        AcquireLease: queues.acquire,
        ReleaseLease: queues.release,
        NextMessage: queues.next,
        ReturnMessage: queues.put_back,
        BuryMessage: queues.bury,
        Broadcast: queues.broadcast,
        ReadReceipt: views.receipt,
        ListMessages: views.messages,
        ReadPast: views.past,
        IsKept: views.is_kept,
        IsServed: views.is_served,
        PushControl: control.push,
        TakeControl: control.take,
        Sweep: heartbeats.sweep,
        RequeueMessage: repairs.requeue,
        DropMessage: repairs.drop,
        ForgetBot: repairs.forget,
        ReadFacts: facts.read,
        ListDumps: _nothing,
    }
    return Planners(plans, quick)


def _nothing(_: Command) -> Plan:
    yield from ()
    return []
