"""PUBLISH as a doorbell: rung after the data is there, and left out where the server forbids it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from .redis_errors import ErrorReply, Kind, diagnose
from .redis_notices import Notices
from .redis_scripts import Step


def tell_forbidden(notices: Notices, refusal: ErrorReply) -> None:
    """Say once what rule is missing, be it found by who publishes or by who listens."""
    notices.once(
        "Redis forbids PUBLISH or SUBSCRIBE, so what comes is found by looking, each second: "
        f"{diagnose(refusal)}",
        "bells",
    )


class Bells:
    """Which channels this process may publish on.

    Args:
        notices: told once when one is forbidden.
    """

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._forbidden: set[str] = set()

    def try_again(self) -> None:
        """Publish on every kind of channel again: the rules may have changed, or this is another server."""
        self._forbidden.clear()

    def allowed(self, kind: str) -> bool:
        """Return whether the server is not known to forbid publishing on channels of a kind."""
        return kind not in self._forbidden

    def ring(
        self, kind: str, step: Step, channel: bytes, payload: bytes
    ) -> Generator[Step, list[Any], list[Any]]:
        """Carry out a step with a PUBLISH after it, in the same transaction.

        One that is forbidden aborts the transaction; then the step is sent again without it.

        Args:
            kind: what the channels of this kind begin with, such as ``admin:bot:``.
            step: the step.
            channel: where to publish.
            payload: what to publish.

        Returns:
            The replies of the step, without that of the PUBLISH.
        """
        if kind not in self._forbidden:
            replies = yield [*step, (b"PUBLISH", channel, payload)]
            refusal = replies.pop()
            if not isinstance(refusal, ErrorReply) or diagnose(refusal).kind is not Kind.NO_CHANNEL:
                return replies
            self._forbidden.add(kind)
            tell_forbidden(self._notices, refusal)
        return (yield step)
