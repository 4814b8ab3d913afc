"""The end of a run: wait until the queues are empty, and look into them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import anyio
import msgspec

from botvisor import Client
from botvisor.errors import StoreError
from botvisor.store import QueuedMessage

from .cast import INJECTOR
from .ledger import Follower
from .options import Options
from .place import Place
from .records import Accepted, AnyRecord, Handled, Rest
from .verdict import is_promised

EVERY_S = 0.25
LATE_S = 3.0  # for repeats that come late
LATE_RESENT_S = 13.0  # an outbox looks at a message every five seconds, and sends it again at the second miss
_LOOKS = 20  # at the queues, while no store answers
_PAUSE_S = 1.0


class Watch:
    """Follows the ledgers while they are written.

    Args:
        place: the run's folder.
        options: the run's options.
    """

    def __init__(self, place: Place, options: Options) -> None:
        self._options = options
        self._follower = Follower(place.ledgers)
        self._open: set[str] = set()  # promised, and not handled so far
        self._handled: set[str] = set()
        self.by_senders = 0
        self.accepted = 0

    @property
    def handled(self) -> int:
        """How many messages have reached `main`."""
        return len(self._handled)

    @property
    def open(self) -> set[str]:
        """The ids that were promised to arrive, and have not so far."""
        return self._open

    def look(self) -> None:
        """Read what is new."""
        news = self._follower.news()
        self._handled |= {record.id for record in news if isinstance(record, Handled)}
        for record in news:
            self._note(record)
        self._open -= self._handled

    def _note(self, record: AnyRecord) -> None:
        if isinstance(record, Accepted):
            self.accepted += 1
            self.by_senders += record.sender != INJECTOR
            if is_promised(record, self._options):
                self._open.add(record.id)


async def settle(
    watch: Watch, client: Client, targets: list[str], options: Options, step: Callable[[], None]
) -> Rest:
    """Wait until what was promised has arrived and the queues are empty, or until patience is at its end.

    Args:
        watch: follows the ledgers.
        client: looks into the queues.
        targets: whose queues.
        options: the run's options.
        step: called again and again meanwhile.

    Returns:
        What the queues held at the very end.
    """
    with anyio.move_on_after(options.patience):
        while watch.by_senders < options.messages or watch.open - set((await queues(client, targets)).dead):
            step()
            await anyio.sleep(EVERY_S)
        while (await queues(client, targets)).waiting:
            step()
            await anyio.sleep(EVERY_S)
    late = time.monotonic() + (LATE_RESENT_S if options.durable else LATE_S)
    while time.monotonic() < late:
        step()
        await anyio.sleep(EVERY_S)
    return await queues(client, targets)


async def queues(client: Client, targets: list[str]) -> Rest:
    """Return what the queues hold.

    Raises:
        StoreError: when no store has answered for a long time.
    """
    waiting: list[str] = []
    dead: list[str] = []
    for target in targets:
        for message in await _listed(client, target):
            if message.state == "dead":
                dead.append(id_of(message))
            elif message.state != "handled":
                waiting.append(id_of(message))
    return Rest(at=time.monotonic(), waiting=waiting, dead=dead)


async def _listed(client: Client, target: str) -> list[QueuedMessage]:
    for _ in range(_LOOKS):
        with contextlib.suppress(StoreError):
            return await client.messages(target)
        await anyio.sleep(_PAUSE_S)
    return await client.messages(target)


def id_of(message: QueuedMessage) -> str:
    """Return a message's own id, else the name that its store gave it."""
    try:
        return str(msgspec.json.decode(message.raw)["id"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return message.name
