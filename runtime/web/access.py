"""Who may look: those who know the token, if there is one."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from botvisor.config import Secret

SESSION_S = 12 * 3600
LEAST = 16  # characters of a token; a shorter one could be guessed


class Access:
    """Checks tokens, and the sessions of browsers that have shown one.

    Sessions end with the program: their key is made anew with each start.

    Args:
        token: the token; None lets everybody in.

    Raises:
        ValueError: when the token is too short.
    """

    def __init__(self, token: Secret | None) -> None:
        if token is not None and len(token.reveal()) < LEAST:
            raise ValueError(f"the token of the web page must have at least {LEAST} characters")
        self._token = None if token is None else _digest(token.reveal())
        self._key = secrets.token_bytes(32)

    @property
    def is_open(self) -> bool:
        """Whether there is no token."""
        return self._token is None

    def knows(self, token: str) -> bool:
        """Return whether this is the token; it takes as long for each that is not."""
        # Digests, as a comparison of the texts themselves would tell their length.
        return self._token is not None and hmac.compare_digest(_digest(token), self._token)

    def open_session(self, now: float) -> str:
        """Return a new session's secret, for a cookie.

        Args:
            now: seconds since the epoch.
        """
        claim = f"{int(now) + SESSION_S:x}.{secrets.token_hex(8)}"
        return f"{claim}.{self._signature(claim)}"

    def is_session(self, secret: str, now: float) -> bool:
        """Return whether this is the secret of a session that has not ended."""
        claim, _, signature = secret.rpartition(".")
        if not hmac.compare_digest(self._signature(claim).encode(), signature.encode()):
            return False
        return now < int(claim.partition(".")[0], 16)  # it is signed, so it is a number

    def _signature(self, claim: str) -> str:
        return hmac.digest(self._key, claim.encode(), "sha256").hex()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
