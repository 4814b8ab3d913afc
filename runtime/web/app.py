"""The application: which page is at which path, and what is answered there."""

from __future__ import annotations

import time
from collections.abc import Collection
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from botvisor.fleet.watch import Watch

from . import pages
from .access import SESSION_S, Access
from .actions import Actions
from .answers import answer, body_of, refusal
from .bot_page import bot_page
from .guard import COOKIE, Guard
from .stream import Streams

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_LOGIN_BYTES = 4_096
_WRONG_S = 0.5  # that a wrong token costs; tries wait for one another


class Pages:
    """Answers for the pages and for what they ask for.

    Args:
        watch: looks at the fleet.
        access: who may look.
    """

    def __init__(self, watch: Watch, access: Access) -> None:
        self._watch = watch
        self._access = access
        self._streams = Streams(watch)
        self._wrong = anyio.Lock()
        folder = files(__package__) / "static"
        # Read once, by their names: there is no path from outside that could lead anywhere else.
        self._static = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    def routes(self, actions: Actions) -> list[Route]:
        """Return which answer is at which path.

        Args:
            actions: answers what changes something.
        """
        return [
            Route("/", self.fleet),
            Route("/bot", self.bot),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/static/{name}", self.static),
            Route("/api/1/fleet", self.fleet_json),
            Route("/api/1/fleet/events", self.fleet_events),
            Route("/api/1/bot", self.bot_json),
            Route("/api/1/bot/events", self.bot_events),
            Route("/api/1/messages", actions.send, methods=["POST"]),
            Route("/api/1/control", actions.control, methods=["POST"]),
        ]

    async def fleet(self, _request: Request) -> Response:
        """Answer with the page of the fleet."""
        board = self._watch.board
        rows = [sighting.shown() for sighting in board.bots.values()]
        return HTMLResponse(pages.fleet_page(board.state(), rows, logged_in=not self._access.is_open))

    async def bot(self, request: Request) -> Response:
        """Answer with a bot's page."""
        bot_id = _bot_id(request)
        details = await self._watch.details(bot_id)
        text = bot_page(bot_id, details, logged_in=not self._access.is_open)
        return HTMLResponse(text, 404 if details["bot"] is None else 200)

    async def fleet_json(self, _request: Request) -> Response:
        """Answer with the fleet."""
        return answer(self._watch.board.changes())

    async def bot_json(self, request: Request) -> Response:
        """Answer with all about a bot."""
        return answer(await self._watch.details(_bot_id(request)))

    async def fleet_events(self, _request: Request) -> Response:
        """Answer with the fleet's changes as they come."""
        return self._streams.fleet() or refusal(503, "too many pages are open")

    async def bot_events(self, request: Request) -> Response:
        """Answer with all about a bot, each time it changes."""
        return self._streams.bot(_bot_id(request)) or refusal(503, "too many pages are open")

    async def static(self, request: Request) -> Response:
        """Answer with a script, a style or a picture."""
        name = request.path_params["name"]
        raw = self._static.get(name)
        kind = _TYPES.get(name[name.rfind(".") :])
        if raw is None or kind is None:
            raise HTTPException(404)
        return Response(raw, headers={"Cache-Control": "no-cache"}, media_type=kind)

    async def login(self, request: Request) -> Response:
        """Answer with the login form, and to it."""
        if self._access.is_open:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return HTMLResponse(pages.login_page())
        fields = parse_qs((await body_of(request, _LOGIN_BYTES)).decode("utf-8", "replace"))
        if not self._access.knows(fields.get("token", [""])[0].strip()):
            async with self._wrong:
                await anyio.sleep(_WRONG_S)
            return HTMLResponse(pages.login_page("That is not the token."), 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE,
            self._access.open_session(time.time()),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    async def logout(self, _request: Request) -> Response:
        """Forget the browser's session."""
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response


def new_app(watch: Watch, actions: Actions, access: Access, names: Collection[str]) -> ASGIApp:
    """Return the application.

    Args:
        watch: looks at the fleet; it is to be run beside.
        actions: answers what changes something.
        access: who may look.
        names: the names of this server; see `Guard`.
    """
    handlers: dict[Any, Any] = {HTTPException: _failed}
    app = Starlette(routes=Pages(watch, access).routes(actions), exception_handlers=handlers)
    return Guard(app, access, names)


async def _failed(request: Request, error: HTTPException) -> Response:
    if request.url.path.startswith("/api/"):
        return refusal(error.status_code, error.detail)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, error.headers)


def _bot_id(request: Request) -> str:
    bot_id = request.query_params.get("id", "")
    if not bot_id:
        raise HTTPException(400, "which bot? It is named by ?id=ID")
    return bot_id
