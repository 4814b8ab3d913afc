"""Serves the web page until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable, Collection, Iterator

import anyio
import uvicorn

from botvisor.client import open_client
from botvisor.config import Secret, Settings
from botvisor.errors import BotvisorError
from botvisor.fleet.watch import EVERY_S, Watch

from .access import Access
from .actions import Actions
from .app import new_app
from .guard import is_loopback

_END_S = 3  # that open requests have when it is to stop


class CannotListen(BotvisorError):
    """The address and port cannot be used.

    Args:
        host: the address.
        port: the port.
        reason: why, in words.
    """

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        self.reason = reason
        super().__init__(host, port, reason)

    def __str__(self) -> str:
        return f"cannot listen on {self.host} port {self.port}: {self.reason}"


class TokenNeeded(BotvisorError):
    """The page is to be reached from other hosts, and everybody there could stop bots.

    Args:
        host: the address.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(host)

    def __str__(self) -> str:
        return f"{self.host} can be reached from other hosts: that needs a token, --token-file or --token-env"


async def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    token: Secret | None = None,
    names: Collection[str] = (),
    started: Callable[[str], None] = lambda _: None,
    stop: anyio.Event | None = None,
    every_s: float = EVERY_S,
) -> None:
    """Serve the page until SIGINT or SIGTERM.

    Args:
        settings: the settings.
        host: the address to listen on.
        port: the port; 0 takes any.
        token: what browsers have to show.
        names: more names of this server, such as those of a proxy before it.
        started: called with the page's URL, once it is served.
        stop: set to stop it; without one it takes the signals.
        every_s: seconds between two looks at the fleet.

    Raises:
        CannotListen: the address or the port cannot be used.
        TokenNeeded: other hosts could reach it, and there is no token.
        ValueError: the token is too short.
    """
    access = Access(token)
    if access.is_open and not is_loopback(host):
        raise TokenNeeded(host)
    with contextlib.closing(_listen(host, port)) as listener:
        async with open_client(settings) as client, anyio.create_task_group() as group:
            watch = Watch(client, settings, every_s)
            app = new_app(watch, Actions(client, watch.sent), access, _names(host, names))
            config = uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_END_S,
            )
            server = _Server(config)
            group.start_soon(watch.run)
            group.start_soon(_stop, server, watch, stop)
            shown = f"[{host}]" if ":" in host else host
            started(f"http://{shown}:{listener.getsockname()[1]}/")
            await server.serve([listener])
            group.cancel_scope.cancel()


class _Server(uvicorn.Server):
    """Leaves the signals to us: its own way ends the process before the client is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _stop(server: uvicorn.Server, watch: Watch, stop: anyio.Event | None) -> None:
    """Stop the server once it is told to; the streams first, which it would wait for."""
    if stop is not None:
        await stop.wait()
    else:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            await anext(signals)
    server.should_exit = True
    watch.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise CannotListen(host, port, reason or str(error)) from error
    return listener


def _names(host: str, more: Collection[str]) -> set[str]:
    own = {socket.gethostname(), host} if not is_loopback(host) else set()
    return {"localhost", *own, *more}
