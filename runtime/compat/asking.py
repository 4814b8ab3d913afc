"""How the guide's functions ask the backend."""

from __future__ import annotations

from typing import Any

from botvisor.errors import ActorError, StoreUnavailable
from botvisor.ref import Ref
from botvisor.store import Command

TIMEOUT_S = 4.5  # the batch that is in flight may take its 2 s before ours takes the same


async def ask(backend: Ref[Any, Any], command: Command) -> Any:
    """Ask the backend for one thing.

    Raises:
        StoreUnavailable: when it gives no answer; the command may have been carried out or not.
        Exception: what the command ended with.
    """
    try:
        return await backend.ask(command, timeout=TIMEOUT_S)
    except ActorError as error:
        raise StoreUnavailable(str(error)) from error
