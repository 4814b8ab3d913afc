"""A sender of a run that knows nothing of botvisor: redis-py, PUBLISH first and RPUSH then, no second try."""

from __future__ import annotations

import json
import random
import time
import uuid
from datetime import UTC, datetime

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from botvisor.config import load_settings

from .cast import cast, share
from .ledger import Ledger
from .options import Options
from .place import named
from .records import Accepted, Refused
from .sender import moments

_LIMIT_S = 2.0
_AGAIN_S = 0.2


def message(target: str, text: str) -> tuple[str, str]:
    """Return a message in the form that older programs write, and its id."""
    message_id = f"older_{uuid.uuid4().hex[:12]}"
    fields = {
        "id": message_id,
        "type": "admin_message",
        "message": text,
        "room_url": target if "://" in target else "",
        "timestamp": datetime.now(UTC).isoformat(),
    }
    return message_id, json.dumps(fields)


def send(client: redis.Redis, name: str, target: str, text: str) -> Accepted | Refused:
    """Send a message; it is accepted if RPUSH was answered."""
    message_id, raw = message(target, text)
    began = time.monotonic()
    try:
        client.publish(f"admin:bot:{target}", raw)
        client.rpush(f"admin:queue:{target}", raw)
    except redis.RedisError as error:
        reason = f"{message_id}: {error!r}"
        return Refused(
            sender=name, target=target, began=began, at=time.monotonic(), reason=reason, older=True
        )
    return Accepted(
        id=message_id,
        sender=name,
        target=target,
        began=began,
        at=time.monotonic(),
        where="redis",
        durable=False,
        state="stored",
        older=True,
    )


def expire(client: redis.Redis, target: str) -> None:
    """Give the list its lifetime; the next message does so, too."""
    try:
        client.expire(f"admin:queue:{target}", 3600)
    except redis.RedisError:
        return


def run(url: str, ledger: Ledger, options: Options, name: str) -> None:
    """Send until so many messages were accepted."""
    everybody = cast(options)
    names = everybody.senders + everybody.older_senders
    messages = share(options.messages, names.index(name), len(names))
    rng = random.Random(f"{options.seed}/{name}")
    client = redis.Redis.from_url(
        url, socket_timeout=_LIMIT_S, socket_connect_timeout=_LIMIT_S, retry=Retry(NoBackoff(), 0)
    )
    for number, at in enumerate(moments(options.seconds, messages, rng, time.monotonic())):
        time.sleep(max(0.0, at - time.monotonic()))
        target = rng.choice(everybody.targets)
        while True:
            record = send(client, name, target, f"{name} {number}")
            ledger.write(record)
            if isinstance(record, Accepted):
                expire(client, target)
                break
            time.sleep(_AGAIN_S)


def main() -> None:
    """Run it."""
    place, facts, name = named()
    run(load_settings().redis_url.reveal(), Ledger(place.ledger(name)), facts.options, name)


if __name__ == "__main__":
    main()
