"""A sender of a run, with botvisor's client: it writes down what was accepted and what was not."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator

import anyio
import anyio.to_thread

from botvisor import Client, open_client
from botvisor.errors import NotStored

from .cast import cast, share
from .ledger import Ledger
from .options import Options
from .place import Place, named
from .records import Accepted, Refused

_WAITING = 0.05  # the share of messages that are followed
_FOLLOWED_S = 1.0
_AGAIN_S = 0.1


async def send_all(client: Client, ledger: Ledger, options: Options, name: str, messages: int) -> None:
    """Send until so many messages were accepted."""
    rng = random.Random(f"{options.seed}/{name}")
    targets = cast(options).targets
    due = moments(options.seconds, messages, rng, time.monotonic())
    for number, at in enumerate(due):
        await anyio.sleep(max(0.0, at - time.monotonic()))
        target = rng.choice(targets)
        wait = _FOLLOWED_S if rng.random() < _WAITING else None
        payload = f"{name} {number}"
        while not await send(client, ledger, options, name, target, payload, wait):  # noqa: ASYNC110 - a pause
            await anyio.sleep(_AGAIN_S)


async def send(
    client: Client,
    ledger: Ledger,
    options: Options,
    name: str,
    target: str,
    payload: str | dict[str, str],
    wait: float | None = None,
) -> bool:
    """Send one message, write down what came of it, and return whether it was accepted."""
    began = time.monotonic()
    record: Accepted | Refused
    try:
        receipt = await client.send(target, payload, wait=wait, durable=options.durable)
    except NotStored as error:
        at = time.monotonic()
        record = Refused(sender=name, target=target, began=began, at=at, reason=str(error))
    else:
        record = Accepted(
            id=receipt.id,
            sender=name,
            target=target,
            began=began,
            at=began + receipt.stored_ms / 1000,
            where=receipt.where,
            durable=options.durable,
            state=receipt.state,
        )
    await anyio.to_thread.run_sync(ledger.write, record)
    return isinstance(record, Accepted)


def moments(seconds: float, messages: int, rng: random.Random, start: float) -> Iterator[float]:
    """Return when each message is due: one in each equal part of the time."""
    each = seconds / max(messages, 1)
    for number in range(messages):
        yield start + each * (number + rng.random())


async def run(place: Place, options: Options, name: str) -> None:
    """Send everything; then keep the client open until SIGTERM: what is durable is still looked after."""
    everybody = cast(options)
    names = everybody.senders + everybody.older_senders
    messages = share(options.messages, names.index(name), len(names))
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_client() as client, anyio.create_task_group() as group:
            group.start_soon(send_all, client, Ledger(place.ledger(name)), options, name, messages)
            async for _ in signals:
                break
            group.cancel_scope.cancel()


def main() -> None:
    """Run it."""
    place, facts, name = named()
    anyio.run(run, place, facts.options, name)


if __name__ == "__main__":
    main()
