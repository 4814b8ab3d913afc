"""The byte stream under a link: connecting it, and saying why it broke."""

from __future__ import annotations

import os
import socket
import ssl

import anyio
import anyio.to_thread
from anyio.abc import ByteStream, SocketAttribute
from anyio.streams.tls import TLSStream

from .redis_endpoint import Endpoint
from .redis_errors import LinkLost, TLSRefused

# The kernel notices within 30 s that a connection died silently: idle, and three probes.
KEEPALIVE_IDLE_S = 15
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_PROBES = 3

LOST = (OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""What a stream raises when it is broken or closed."""


async def connect(endpoint: Endpoint) -> ByteStream:
    """Connect to a server: over TCP, TLS or a unix socket.

    Args:
        endpoint: where; Sentinels must have been asked already.

    Raises:
        LinkLost: when the connection fails; `TLSRefused` when it is TLS that fails.
        EndpointUnusable: when a certificate cannot be read.
    """
    stream: ByteStream
    try:
        if endpoint.path is not None:
            return await anyio.connect_unix(endpoint.path)
        stream = await anyio.connect_tcp(endpoint.host, endpoint.port)
    except OSError as error:
        raise LinkLost(endpoint.address, reason_of(error)) from error
    try:
        _tune(stream)
        if endpoint.tls is not None:
            context = await anyio.to_thread.run_sync(endpoint.tls.context, abandon_on_cancel=True)
            hostname = endpoint.tls.server_name or endpoint.host
            stream = await TLSStream.wrap(
                stream, ssl_context=context, hostname=hostname, server_side=False, standard_compatible=False
            )
    except BaseException as error:
        await anyio.aclose_forcefully(stream)
        if isinstance(error, ssl.SSLError):
            raise TLSRefused(endpoint.address, reason_of(error)) from error
        if isinstance(error, LOST):
            raise LinkLost(endpoint.address, reason_of(error)) from error
        raise
    return stream


def _tune(stream: ByteStream) -> None:
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - no Django here
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Where the system calls them otherwise, its defaults hold.
    for option, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
    ):
        if hasattr(socket, option):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def reason_of(error: BaseException) -> str:
    """Return why a connection failed, in the operating system's words where there are some."""
    if isinstance(error, BaseExceptionGroup):
        return reason_of(error.exceptions[0])
    if isinstance(error, anyio.EndOfStream):
        return "the server closed the connection"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return error.strerror or "unknown host"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if error.__cause__ is not None:
        return reason_of(error.__cause__)
    return str(error) or "the connection broke"
