"""What stands before every page: as what and by whom it may be asked for, and what a browser may do."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import Access
from .answers import refusal

COOKIE = "botvisor_session"

_SAFE = ("GET", "HEAD")
_OPEN = ("/login", "/static/")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # with no-referrer browsers hide the origin of a form, too
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """An ASGI application round another one.

    - The name that a browser has asked for must be one of ours. A stranger's name that leads here (DNS
      rebinding) would make a stranger's page one of our own origin.
    - What changes something must come from a page of that same name, or bear the token.
    - With a token, nothing but the login form is shown to who has not shown it.

    Args:
        app: the application.
        access: who may look.
        names: the names of this server; an address is always accepted, as nobody can make it lead elsewhere.
    """

    def __init__(self, app: ASGIApp, access: Access, names: Collection[str]) -> None:
        self._app = app
        self._access = access
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets
            return
        answer = self._refuse(HTTPConnection(scope))

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await (answer or self._app)(scope, receive, send_guarded)

    def _refuse(self, request: HTTPConnection) -> Response | None:
        # Not its `url`, which cannot be had when the name is a bad one.
        path, method, headers = request.scope["path"], request.scope["method"], request.headers
        if not self._is_ours(headers.get("host", "")):
            text = "This server does not go by that name. `botvisor web --allow-host NAME` adds one.\n"
            return PlainTextResponse(text, 421)
        bearer = self._bears_token(headers)
        if method not in _SAFE and not bearer and not from_own_page(headers):
            return refusal(403, "this must come from the page itself, or bear the token")
        if self._access.is_open or bearer or path.startswith(_OPEN):
            return None
        if self._access.is_session(request.cookies.get(COOKIE, ""), time.time()):
            return None
        if path.startswith("/api/"):
            return refusal(401, "log in first, or send the token as `Authorization: Bearer TOKEN`")
        return RedirectResponse("/login", 303)

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        return name in self._names or _is_address(name)

    def _bears_token(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._access.knows(token.strip())


def from_own_page(headers: Headers) -> bool:
    """Return whether a browser has made a request from one of our pages, as far as it tells.

    Browsers tell the origin with each POST, and most how it is related to ours; no page can change that.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == headers.get("host", "").lower()


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this host alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Return the name or address in a ``Host`` header, without its port; empty when there is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # reading it is what checks it
        return (parts.hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
