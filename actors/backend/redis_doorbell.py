"""Redis's doorbell: who waits for a queue is told when a message for it comes."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import anyio

from botvisor.doorbell import End, Ring
from botvisor.errors import BotvisorError
from botvisor.store import Queue
from botvisor.wire import (
    BROADCAST_CHANNEL,
    MAX_MESSAGE_BYTES,
    admin_channel,
    admin_queue,
    control_key,
    identity_channel,
)

from .cluster_links import ask_map
from .cluster_seeds import Seeds
from .link import Command, Fence
from .quarantine import Notify
from .redis_bell_link import BellLink
from .redis_bells import tell_forbidden
from .redis_endpoint import Endpoint
from .redis_errors import EndpointUnusable, ErrorReply, Kind, diagnose
from .redis_notices import Notices
from .redis_queues import keys_of
from .redis_second_looks import SecondLooks

Ask = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]
"""Carries out commands that only read, in one round trip; a reply for each, errors in their places."""

CONNECT_TIMEOUT_S = 3.0
LOOK_EVERY_S = 1.0
WAIT_MIN_S = 0.1
WAIT_MAX_S = 15.0
STEADY_S = 10.0  # a connection that lasted this long was a good one

_LOOKS_PER_RETRY = 30  # after so many looks, channels that were forbidden are asked for again
_ADMIN = admin_channel("").encode()
_LINK_ERRORS = (OSError, EndpointUnusable, ErrorReply)


class Subscriptions:
    """Who is told of what, by names; a name is there as long as somebody is told of it.

    Args:
        changed: called with each name that comes or goes.
    """

    def __init__(self, changed: Callable[[bytes], None]) -> None:
        self._changed = changed
        self._receivers: dict[bytes, dict[object, Callable[[bytes | None], None]]] = {}

    def add(self, name: bytes, receive: Callable[[bytes | None], None]) -> Callable[[], None]:
        """Tell somebody of a name. Returns a function that ends it, and can be called twice."""
        key = object()
        self._receivers.setdefault(name, {})[key] = receive
        if len(self._receivers[name]) == 1:
            self._changed(name)
        return lambda: self._end(name, key)

    def names(self) -> list[bytes]:
        """Return all names, each once."""
        return list(self._receivers)

    def tell(self, name: bytes, payload: bytes | None = None) -> None:
        """Tell everybody who is told of a name; a payload of None says: there may be something."""
        for receive in list(self._receivers.get(name, {}).values()):
            receive(payload)

    def __contains__(self, name: bytes) -> bool:
        return name in self._receivers

    def _end(self, name: bytes, key: object) -> None:
        receivers = self._receivers.get(name, {})
        receivers.pop(key, None)
        if name in self._receivers and not receivers:
            del self._receivers[name]
            self._changed(name)


class RedisDoorbell:
    """Rings when admin messages or control objects come to Redis, for all bots of a process.

    One connection listens on every channel, and makes itself anew when it is lost; a channel rings when it is
    confirmed, so what came in between is found. Each second one EXISTS over all lists finds what no bell told
    of: messages of writers that do not publish, and control objects, for which nobody rings.

    While Redis is away it waits. It has no store to fall back on, and nothing to say: the store says it.

    Subscribe before you look: a ring that came first is not repeated.

    Args:
        endpoint: where Redis is.
        ask: asks over the store's own link, as a subscribed connection cannot ask. It must limit its time
            by itself. While Redis is not in use it raises `OSError` or a `BotvisorError`.
        notify: told, with a level and a text, of what the server forbids.
        notices: says it in place of that, once for this and the store together.
        connect_timeout_s: the limit for opening a connection, in seconds.
        name: the connection's name in CLIENT LIST.
        seed: of the jitter; None draws one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ask: Ask,
        *,
        notify: Notify | None = None,
        notices: Notices | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        name: str = "botvisor-bell",
        seed: int | None = None,
    ) -> None:
        self._seeds = Seeds(endpoint)
        self._ask = ask
        self._notify = notify or _ignore
        self._notices = notices or Notices(self._notify)
        self._connect_timeout_s = connect_timeout_s
        self._name = name
        self._random = random.Random(seed)  # noqa: S311 - jitter is no secret
        self._channels = Subscriptions(self._follow)
        self._lists = Subscriptions(lambda _name: None)
        self._looks = SecondLooks(self._channels.tell)
        self._link: BellLink | None = None
        self._fence: Fence | None = None
        self._followed: set[bytes] = set()  # channels that the link was asked for
        self._refused: set[bytes] = set()
        self._redis_is_back: anyio.Event | None = None

    def subscribe(self, target: Queue | str, ring: Ring) -> End:
        """See `Doorbell`. For control, the second's look rings: senders publish nothing for it."""
        if isinstance(target, str):
            return self._lists.add(control_key(admin_queue(target)).encode(), lambda _: ring())
        keys = keys_of(target)
        end_channel = self._channels.add(keys.channel, lambda _: ring())
        end_list = self._lists.add(keys.queue, lambda _: ring())

        def end() -> None:
            end_channel()
            end_list()

        return end

    def on_broadcast(self, receive: Callable[[bytes], None]) -> End:
        """See `Doorbell`: what is sent while the connection is lost is lost, and what is over 1 MiB."""

        def hand_over(payload: bytes | None) -> None:
            if payload is not None and len(payload) <= MAX_MESSAGE_BYTES:
                receive(payload)

        return self._channels.add(BROADCAST_CHANNEL.encode(), hand_over)

    def on_identity_changed(self, room_url: str, changed: Callable[[str | None], None]) -> End:
        """See `Doorbell`: it may be anybody's when the connection is new."""

        def tell(payload: bytes | None) -> None:
            changed(payload.decode(errors="replace") if payload is not None else None)

        return self._channels.add(identity_channel(room_url).encode(), tell)

    async def run(self, started: Callable[[], None]) -> None:
        """See `Doorbell`. It has started at once, be Redis there or not: it looks each second."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._looks.run)
            group.start_soon(self._look_each_second)
            started()
            self._ring(self._lists.names())
            await self._stay_connected()

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            steady, denied = False, False
            try:
                link = await self._open()
            except _LINK_ERRORS as error:
                denied = diagnose(error).kind is Kind.DENIED
            else:
                opened_at = anyio.current_time()
                try:
                    await self._listen(link)
                finally:
                    self._link, self._fence = None, link.fence
                steady = anyio.current_time() - opened_at >= STEADY_S
                self._notify("DEBUG", f"The doorbell's connection to {link.address} is lost: {link.lost}")
            failures = 0 if steady else failures + 1
            # Whoever must set something right needs longer, and wrong passwords are counted.
            wait_s = WAIT_MAX_S if denied else min(WAIT_MAX_S, WAIT_MIN_S * 2.0 ** min(failures, 20))
            self._redis_is_back = anyio.Event()
            with anyio.move_on_after(wait_s * self._random.uniform(0.5, 1.0)):
                await self._redis_is_back.wait()

    async def _open(self) -> BellLink:
        """Connect to the server, or to any node of a cluster: what is published on one is heard on all."""

        async def open_one(endpoint: Endpoint, timeout_s: float) -> BellLink:
            link = await BellLink.open(
                endpoint, connect_timeout_s=timeout_s, name=self._name, fence=self._fence
            )
            return cast("BellLink", link)

        link = await self._seeds.open(open_one, self._connect_timeout_s)
        if link.server.mode == "cluster":
            with contextlib.suppress(ErrorReply, OSError):
                self._seeds.learn((await ask_map(link)).primaries())
        return link

    async def _listen(self, link: BellLink) -> None:
        self._link = link
        self._followed.clear()
        self._refused.clear()
        for channel in self._channels.names():
            self._follow(channel)
        await link.listen(
            on_message=self._arrived, on_subscribed=self._channels.tell, on_refused=self._forbidden
        )

    def _follow(self, channel: bytes) -> None:
        """Ask for a channel that somebody wants, or give up one that nobody wants any more."""
        if self._link is None:
            return
        if channel in self._channels and channel not in self._followed:
            self._followed.add(channel)
            self._link.subscribe(channel)
        elif channel not in self._channels and channel in self._followed:
            self._followed.discard(channel)
            self._refused.discard(channel)
            self._link.unsubscribe(channel)

    def _arrived(self, channel: bytes, payload: bytes) -> None:
        self._channels.tell(channel, payload)
        if channel.startswith(_ADMIN):
            self._looks.begin(channel)

    def _forbidden(self, channel: bytes, error: ErrorReply) -> None:
        self._refused.add(channel)
        if not diagnose(error).worth_retrying:
            tell_forbidden(self._notices, error)

    async def _look_each_second(self) -> None:
        answered, looks = True, 0
        while True:
            await anyio.sleep(LOOK_EVERY_S)
            looks += 1
            try:
                self._ring(await self._holding())
            except (OSError, BotvisorError, EndpointUnusable, ErrorReply):
                answered = False
                continue
            if not answered and self._redis_is_back is not None:
                self._redis_is_back.set()
            answered = True
            if looks % _LOOKS_PER_RETRY == 0:
                self._ask_again_for_refused()

    async def _holding(self) -> list[bytes]:
        """Return the lists that hold something, or of which the server does not tell."""
        lists = self._lists.names()
        if not lists:
            return []
        (count,) = await self._ask([(b"EXISTS", *lists)])
        if isinstance(count, ErrorReply):
            self._notices.once(
                f"Redis does not tell which queues hold something: {diagnose(count)}", "exists"
            )
        if count in (0, len(lists)):
            return lists if count else []
        found = await self._ask([(b"EXISTS", name) for name in lists])
        return [name for name, there in zip(lists, found, strict=True) if there]

    def _ask_again_for_refused(self) -> None:
        refused, self._refused = self._refused, set()
        for channel in refused:
            self._followed.discard(channel)
            self._follow(channel)

    def _ring(self, lists: Sequence[bytes]) -> None:
        for name in lists:
            self._lists.tell(name)


def _ignore(_level: str, _text: str) -> None:
    pass
