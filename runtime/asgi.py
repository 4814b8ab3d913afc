"""The client of a web server: open for as long as the application lives."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from botvisor.config import Settings

from .client import Client, open_client


@contextlib.asynccontextmanager
async def lifespan(app: object, *, settings: Settings | None = None) -> AsyncIterator[dict[str, Client]]:
    """Keep a client open while a web application runs: ``FastAPI(lifespan=botvisor.lifespan)``.

    It is for Starlette, FastAPI and what else takes a lifespan so, and imports none of them. In a handler
    the client is ``request.state.client``. An application with a lifespan of its own enters this one in it,
    and yields its state with what else is to be there.

    Args:
        app: the application; it is not looked at.
        settings: None reads the environment. Give others by
            ``functools.partial(botvisor.lifespan, settings=settings)``.

    Yields:
        The state: ``{"client": client}``.

    Raises:
        SettingsError: when the environment holds bad values: the server does not start then.
        StartFailed: when the backend did not start.
    """
    async with open_client(settings) as client:
        yield {"client": client}
