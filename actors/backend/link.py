"""A link: one connection to one Redis server that carries batches of commands.

hiredis packs and parses; an anyio byte stream carries. The protocol is RESP2 (redis.io, "Redis serialization
protocol specification"): replies come in the order of the commands, so a link on which one reply went astray
can never be used again.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.to_thread
import hiredis
import msgspec
from anyio.abc import ByteStream

from .packed import Command as Command
from .packed import Packed, pack_one
from .pipeline import Pipeline
from .redis_endpoint import Endpoint, resolve
from .redis_errors import ErrorReply, LinkLost, TLSRefused
from .redis_stream import LOST, connect, reason_of

CLOSE_S = 1.0

_NO_CERTIFICATE = " once TLS was agreed on: if the server asks for certificates, set REDIS_TLS_CERT_FILE"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What a server says of itself; empty where it says nothing or may not be asked.

    Args:
        kind: ``redis`` or ``valkey``.
        version: such as ``(6, 2, 14)``; a Valkey's own, not that of the Redis it is compatible with.
        mode: ``standalone``, ``sentinel`` or ``cluster``.
        run_id: another one after each start of the server.
    """

    kind: str = "redis"
    version: tuple[int, ...] = ()
    mode: str = ""
    run_id: str = ""


class Fence(msgspec.Struct, frozen=True):
    """Names a link to its server, so that the next link can have it killed first.

    Args:
        run_id: the server's; ids of clients begin anew with each start of it.
        client_id: the link's id there.
    """

    run_id: str
    client_id: int


class Link:
    """A connection that is logged in and ready. Get one from `open`.

    Several batches may be on their way at once; the server carries them out one after the other. An I/O
    error, a reply that cannot be parsed, or a cancellation while a batch is being sent ends the link. What a
    cancelled batch that was sent is still owed is passed over when it comes: no reply of one batch is ever
    read as another's.

    Args:
        stream: a byte stream, connected.
        address: the server's address, for people.
    """

    def __init__(self, stream: ByteStream, address: str) -> None:
        self.address = address
        self.server = Server()
        self.fence: Fence | None = None
        """What fences this link off, for the next `open`; None when the server does not tell its id."""
        self.refused: tuple[ErrorReply, ...] = ()
        """Errors that the handshake lived with: no name, no id, no fence, no server time."""
        self._stream = stream
        self._pipeline = Pipeline(stream)
        self._closed = False
        self._clock_offset_s = time.time() - time.monotonic()

    @property
    def broken(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closed or self._pipeline.failed

    @classmethod
    async def open(
        cls,
        endpoint: Endpoint,
        *,
        connect_timeout_s: float,
        name: str = "botvisor",
        fence: Fence | None = None,
    ) -> Link:
        """Connect, log in and ask the server who it is.

        Args:
            endpoint: where; behind Sentinels, whoever they name now.
            connect_timeout_s: the limit of all that.
            name: for CLIENT LIST.
            fence: an earlier link to have killed before this one can be used: a write of it that is still on
                its way must not land after what is read here.

        Raises:
            LinkLost: when the connection fails; `TLSRefused` when it is TLS that fails.
            TimeoutError: when it takes too long.
            ErrorReply: when the server does not let us in.
            EndpointUnusable: when the password or a certificate cannot be read.
        """
        with anyio.move_on_after(connect_timeout_s):
            endpoint = await resolve(endpoint, timeout_s=connect_timeout_s)
            link = cls(await connect(endpoint), endpoint.address)
            try:
                await link._shake_hands(endpoint, name, fence)
            except BaseException as error:
                await link.aclose()
                if not isinstance(error, Exception):
                    raise
                # The frames below hold the password, and there are loggers that show variables.
                error.__context__ = None
                raise error.with_traceback(None) from None
            return link
        raise TimeoutError(f"{endpoint.address}: no link within {connect_timeout_s:g} s")

    async def execute(self, commands: Sequence[Command | Packed]) -> list[Any]:
        """Send a batch in one write and read as many replies.

        There is no time limit: set one with a cancel scope; `heard` and `quiet_s` tell slow from silent.

        Args:
            commands: tuples of words; a text is sent as UTF-8. Or what is packed already.

        Returns:
            For each command bytes, an int, None, a list of these, or an `ErrorReply` as a value, also inside
            lists.

        Raises:
            LinkLost: when the link broke, now or before; then nobody knows what was carried out.
            TypeError: when a word is no bytes, text or number; nothing was sent.
            UnicodeEncodeError: when a text has a lone surrogate; nothing was sent.
        """
        replies: list[Any] = []
        await self._exchange(commands, replies)
        return replies

    async def aclose(self) -> None:
        """Close the connection, within a second, whatever its state."""
        self._closed = True
        with anyio.move_on_after(CLOSE_S, shield=True):
            try:
                await self._stream.aclose()
            except (*LOST, anyio.BusyResourceError):
                pass  # closed is closed

    @property
    def busy(self) -> bool:
        """Whether replies are still to come, also those that nobody waits for any more."""
        return self._pipeline.busy

    @property
    def heard(self) -> bool:
        """Whether a byte of a reply came since the oldest batch that waits was sent, or else the last one."""
        return self._pipeline.heard

    @property
    def last_byte_at(self) -> float:
        """When a byte last came, in seconds of `time.monotonic`."""
        return self._pipeline.last_byte_at

    def quiet_s(self) -> float:
        """Return the seconds since a batch was sent as `heard` has it, or since a byte came after that."""
        return self._pipeline.quiet_s()

    def server_ms(self) -> int:
        """Return the server's time, in milliseconds since the epoch, however our own clock is set."""
        return int((time.monotonic() + self._clock_offset_s) * 1000)

    async def _exchange(self, commands: Sequence[Command | Packed], replies: list[Any]) -> None:
        """Send a batch, and add the replies to a list as they come."""
        if self.broken:
            raise LinkLost(self.address, "the link is broken")
        count, parts = len(commands), []
        for each in commands:
            if isinstance(each, Packed):
                count += each.count - 1
                parts.append(each.data)
            else:
                parts.append(pack_one(each))
        if not commands:
            return
        try:
            await self._pipeline.exchange(b"".join(parts), count, replies)
        except BaseException as error:
            if self._pipeline.failed:
                await self.aclose()
            if isinstance(error, (*LOST, hiredis.HiredisError)):
                raise LinkLost(self.address, reason_of(error)) from error
            raise

    async def _shake_hands(self, endpoint: Endpoint, name: str, fence: Fence | None) -> None:
        # HELLO is left out: Redis 5 has none, and RESP2 needs none.
        needed: list[Command] = []
        if credentials := await anyio.to_thread.run_sync(endpoint.credentials, abandon_on_cancel=True):
            needed.append(("AUTH", *credentials))
        if endpoint.db:
            needed.append(("SELECT", endpoint.db))
        wanted: list[Command] = [
            ("CLIENT", "SETNAME", re.sub(r"[^!-~]", "_", name)),
            ("CLIENT", "ID"),
            ("TIME",),
            ("INFO", "server"),
        ]
        sent_at = time.monotonic()
        try:
            replies = await self._greet([*needed, *wanted], len(needed))
        except LinkLost as error:
            if endpoint.tls is None or endpoint.tls.cert_file or self.heard or isinstance(error, TLSRefused):
                raise
            # Or the server that misses our certificate hung up so fast that its alert was lost.
            raise LinkLost(error.address, f"{error.reason}{_NO_CERTIFICATE}") from error
        halfway = (sent_at + time.monotonic()) / 2
        _, client_id, now, info = replies[len(needed) :]
        if isinstance(now, list):
            self._clock_offset_s = int(now[0]) + int(now[1]) / 1_000_000 - halfway
        if isinstance(info, bytes):
            self.server = _read_info(info.decode(errors="replace"))
        if isinstance(client_id, int):
            self.fence = Fence(self.server.run_id, client_id)
        # After a restart the id may be anybody's, and the old connection is gone anyway.
        if fence is not None and fence.run_id == self.server.run_id:
            await self._greet([("CLIENT", "KILL", "ID", fence.client_id)], 0)

    async def _greet(self, commands: Sequence[Command], needed: int) -> list[Any]:
        """Send commands of the handshake; raise the error of a needed one, and one that will befall all."""
        replies: list[Any] = []
        try:
            await self._exchange(commands, replies)
        except LinkLost as error:
            if replies and isinstance(replies[0], ErrorReply):
                raise replies[0] from None  # it said why and hung up: too many clients, protected mode
            if isinstance(error.__cause__, ssl.SSLError):
                # TLS 1.3 brings the news that our certificate is unwelcome only now.
                raise TLSRefused(error.address, error.reason) from error
            raise
        for place, reply in enumerate(replies):
            if isinstance(reply, ErrorReply):
                if place < needed or reply.code not in ("ERR", "NOPERM"):
                    raise reply
                self.refused += (reply,)
        return replies


def _read_info(text: str) -> Server:
    facts = dict(line.partition(":")[::2] for line in text.splitlines())
    valkey = facts.get("valkey_version")
    version = valkey or facts.get("redis_version", "")
    return Server(
        kind="valkey" if valkey else "redis",
        version=tuple(int(number) for number in re.findall(r"\d+", version)),
        mode=facts.get("redis_mode") or facts.get("server_mode", ""),
        run_id=facts.get("run_id", ""),
    )
