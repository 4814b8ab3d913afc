"""Which store the settings ask for."""

from __future__ import annotations

import functools

import anyio.to_thread

from botvisor.actors.backend.doorbell import SpoolDoorbell
from botvisor.actors.backend.files import FileStore
from botvisor.actors.backend.outbox_tender import EVERY_S, OutboxTender
from botvisor.config import Settings

from .bot_supervisor import BotSupervisor
from .doorbell import Doorbell
from .logs import Log
from .storage import Run, Storage, plain_storage


def new_supervisor(settings: Settings) -> BotSupervisor:
    """Return a supervisor over the store that the settings ask for; it does not run yet.

    Raises:
        SettingsError: when Redis cannot be used as the settings say.
    """
    return BotSupervisor(settings, on_redis(settings) if settings.use_redis else _on_files(settings))


def _on_files(settings: Settings) -> Storage:
    log = Log("file")
    store = FileStore(settings, notify=functools.partial(_tell, log))
    close = functools.partial(anyio.to_thread.run_sync, store.close, abandon_on_cancel=True)
    doorbell = SpoolDoorbell(store.spool)
    return plain_storage(
        store, doorbell, log, write_aside=store.write_aside, stack_dump=store.stack_dump, aclose=close
    )


def on_redis(settings: Settings, *, tend_every_s: float = EVERY_S) -> Storage:
    """Return what keeps everything on Redis, and on files while it is away.

    Args:
        settings: the settings.
        tend_every_s: how often the durable messages are looked after that were sent from here.

    Raises:
        SettingsError: when Redis cannot be used as the settings say.
    """
    # hiredis and what goes with it are of no use to who keeps to files.
    from botvisor.actors.backend import redis_aside
    from botvisor.actors.backend.both_doorbells import BothDoorbells
    from botvisor.actors.backend.failover import FailoverStore
    from botvisor.actors.backend.redis import RedisStore
    from botvisor.actors.backend.redis_doorbell import RedisDoorbell
    from botvisor.actors.backend.redis_endpoint import endpoint_of
    from botvisor.actors.backend.sentinel_watch import SentinelWatch

    log = Log("redis")
    notify = functools.partial(_tell, log)
    endpoint = endpoint_of(settings)
    for warning in endpoint.warnings:
        log.warning("client", warning)
    redis = RedisStore(endpoint, notify, connect_timeout_s=settings.redis_connect_timeout_s)
    files = FileStore(settings, notify, beside_redis=True) if settings.file_fallback else None
    store = FailoverStore(redis, files, log, command_timeout_s=settings.redis_command_timeout_s)
    bell = RedisDoorbell(
        endpoint,
        store.look,
        notify=notify,
        notices=redis.notices,
        connect_timeout_s=settings.redis_connect_timeout_s,
    )
    doorbell: Doorbell = bell
    children: dict[str, Run] = {"failover": store.run, "redis-doorbell": bell.run}
    if endpoint.sentinels is not None:
        children["sentinels"] = SentinelWatch(endpoint, redis, notify).run
    if files is not None:
        spool_bell = SpoolDoorbell(files.spool)
        doorbell, children["doorbell"] = BothDoorbells(bell, spool_bell), spool_bell.run
    outbox = OutboxTender(files.outbox, store, log, every_s=tend_every_s) if files is not None else None
    if outbox is not None:
        children["outbox"] = outbox.run
    return Storage(
        store=store,
        doorbell=doorbell,
        log=log,
        state=store.state,
        home="redis",
        on_mode=store.on_mode,
        children=children,
        write_aside=functools.partial(redis_aside.write, endpoint, files, store.state),
        stack_dump=files.stack_dump if files is not None else None,
        aclose=store.aclose,
        outbox=outbox,
        ping=store.ping,
    )


def _tell(log: Log, level: str, text: str) -> None:
    getattr(log, level.lower())("client", text)
