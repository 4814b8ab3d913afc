"""What is asked and answered: bodies of requests, JSON, and why there is none."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response


def answer(document: Any, status: int = 200) -> Response:
    """Return a document as JSON."""
    raw = document if isinstance(document, bytes) else msgspec.json.encode(document)
    return Response(raw, status, media_type="application/json")


def refusal(status: int, reason: str) -> Response:
    """Return why there is no answer.

    Args:
        status: the status of HTTP.
        reason: why, in words.
    """
    return answer({"error": reason}, status)


async def body_of(request: Request, limit: int) -> bytes:
    """Return a request's body.

    Args:
        request: the request.
        limit: how many bytes it may have.

    Raises:
        HTTPException: it has more.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise HTTPException(413, f"more than {limit} bytes")
    return bytes(body)
