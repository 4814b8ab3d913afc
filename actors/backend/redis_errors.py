"""What an error of Redis means: which row of the table in docs/design.md it is, and what would mend it.

The texts are those of Redis 5.0, 6.2 and 7.x and of Valkey 9, taken from the servers themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from botvisor.errors import MalformedMessage, StoreError, StoreUnavailable

from . import redis_rules as rules
from .breaker import Failure

_CLUSTER = "this is a node of a Redis Cluster: add to the ACL +info, or begin REDIS_URL with redis+cluster"
_PASSWORD = "check REDIS_SHARED_SECRET, REDIS_PASSWORD_FILE or the password and user name in REDIS_URL"  # noqa: S105
_BELLS = f"add to the ACL: {rules.BELLS}, and unless it has all channels: {rules.CHANNELS}"
_SCRIPTS = f"add to the ACL: {rules.SCRIPTS}; without scripts no message can be claimed"
_INSIDE_SCRIPTS = f"add to the ACL what scripts use: {rules.INSIDE_SCRIPTS}"
_KEYS = f"add to the ACL: {rules.KEYS}"
_OLD = "Redis 5.0 or later is needed, with no command renamed"
_FILES = "check REDIS_PASSWORD_FILE and the REDIS_TLS_… settings"
_TLS = "check the REDIS_TLS_… settings, and that the server speaks TLS at this address"


class ErrorReply(Exception):
    """An error that Redis answered a command with: a value, in its place among the replies.

    Args:
        text: the reply's text, without the leading ``-``.
    """

    def __init__(self, text: str) -> None:
        # What a command's arguments were must reach no log: they may be a password, or what somebody said.
        self.text = text.partition(", with args beginning with")[0]
        super().__init__(self.text)

    @property
    def code(self) -> str:
        """The reply's first word, such as ``WRONGTYPE``; ``ERR`` where there is no better one."""
        return self.text.partition(" ")[0]


class LinkLost(ConnectionError):
    """A link to Redis could not be opened, or broke; what was under way may or may not have happened.

    Args:
        address: the server's address.
        reason: why, in words.
    """

    def __init__(self, address: str, reason: str) -> None:
        self.address = address
        self.reason = reason
        super().__init__(address, reason)

    def __str__(self) -> str:
        return f"{self.address}: {self.reason}"


class TLSRefused(LinkLost):
    """The server and we do not agree on TLS: a certificate is wrong, or one of us speaks plainly."""


class EndpointUnusable(Exception):
    """What is needed to log in cannot be had, as one of the files is bad; or it is a server that won't do.

    Args:
        problem: what is wrong, in words.
        remedy: what an operator should do.
    """

    def __init__(self, problem: str, remedy: str = _FILES) -> None:
        self.remedy = remedy
        super().__init__(problem)


class Kind(Enum):
    """The rows of the table. A value is what the row is about."""

    UNREACHABLE = "connection refused or lost"
    SILENT = "time-out"
    NOT_READY = "LOADING, MASTERDOWN, CLUSTERDOWN and the like"
    NOT_WRITABLE = "READONLY, MISCONF, NOREPLICAS"
    FULL = "OOM"
    DENIED = "NOAUTH, WRONGPASS, NOPERM, an unknown command"
    NO_EVAL = "EVAL is forbidden"
    NO_CHANNEL = "PUBLISH or SUBSCRIBE is forbidden"
    NO_SCRIPT = "NOSCRIPT"
    BAD_VALUE = "WRONGTYPE, undecodable data"
    OTHER = "an error of this one command"


_FAILURES = {
    Kind.UNREACHABLE: Failure.REFUSED,
    Kind.SILENT: Failure.SILENT,
    Kind.NOT_READY: Failure.TRIPPED,
    Kind.NOT_WRITABLE: Failure.TRIPPED,
    Kind.DENIED: Failure.DENIED,
    Kind.NO_EVAL: Failure.DENIED,
}


class Diagnosis(msgspec.Struct, frozen=True):
    """What an error means.

    Args:
        kind: the row.
        reason: what happened, in a few words, such as ``Connection refused``.
        remedy: what an operator should do; empty when there is nothing to do but wait.
    """

    kind: Kind
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason.removesuffix('.')}: {self.remedy}" if self.remedy else self.reason

    @property
    def failure(self) -> Failure | None:
        """What the breaker counts it as; None if Redis stays in use."""
        return _FAILURES.get(self.kind)

    @property
    def worth_retrying(self) -> bool:
        """Whether trying the same again at once may help."""
        return self.kind in (Kind.UNREACHABLE, Kind.SILENT, Kind.NOT_READY)

    @property
    def wrong_server(self) -> bool:
        """Whether the link is to be discarded and the address resolved anew: another server may write."""
        return self.kind is Kind.NOT_WRITABLE


class RedisUnavailable(StoreUnavailable):
    """Redis could not carry out a command, and files could.

    Args:
        diagnosis: what is wrong, and whether it counts against Redis as a whole.
    """

    def __init__(self, diagnosis: Diagnosis) -> None:
        self.diagnosis = diagnosis
        super().__init__(diagnosis)

    def __str__(self) -> str:
        return f"Redis: {self.diagnosis}"


def unavailable(answers: Sequence[Any]) -> list[RedisUnavailable]:
    """Return those among some answers that tell that Redis is unavailable."""
    for kind in set(map(type, answers)):  # of which there are few, and this one hardly ever
        if issubclass(kind, RedisUnavailable):
            return [answer for answer in answers if isinstance(answer, RedisUnavailable)]
    return []


def told(error: Exception) -> StoreError:
    """Return what a command ends with for an error of the link or of the server."""
    diagnosis = diagnose(error)
    if diagnosis.kind in (Kind.BAD_VALUE, Kind.OTHER):
        return StoreError(f"Redis: {diagnosis}")
    return RedisUnavailable(diagnosis)


def diagnose(error: BaseException) -> Diagnosis:
    """Return what an error reply, or what a link or a reader of data raised, means."""
    if isinstance(error, ErrorReply):
        return _diagnose_reply(error.text)
    if isinstance(error, EndpointUnusable):
        return Diagnosis(Kind.DENIED, str(error), error.remedy)
    if isinstance(error, TLSRefused):
        return Diagnosis(Kind.DENIED, error.reason, _TLS)
    if isinstance(error, TimeoutError):
        return Diagnosis(Kind.SILENT, str(error) or "time-out")
    if isinstance(error, LinkLost):
        return Diagnosis(Kind.UNREACHABLE, error.reason)
    if isinstance(error, OSError):
        return Diagnosis(Kind.UNREACHABLE, str(error))
    if isinstance(error, (UnicodeError, msgspec.DecodeError, MalformedMessage)):
        return Diagnosis(Kind.BAD_VALUE, f"undecodable data: {error}")
    return Diagnosis(Kind.OTHER, f"{type(error).__name__}: {error}")


def diagnose_transaction(replies: Sequence[Any]) -> Diagnosis | None:
    """Return what ended a transaction as a whole; None if it was carried out.

    The first queued command that was refused tells, and not EXEC's own error, which is alike for all. Redis 5
    on a read-only replica even answers EXEC with an empty list. Errors inside EXEC's list are single
    commands' own.

    Args:
        replies: those of MULTI, of each queued command, and of EXEC.
    """
    for reply in replies:
        if isinstance(reply, ErrorReply):
            return diagnose(reply)
    return None


# Where the message of an inner error begins, in the texts of scripts and transactions.
_WRAPPED = re.compile(r".*(?:@user_script: ?\d+: -?|ACL failure in script: |because of: )", re.DOTALL)
_SCRIPT_TAIL = re.compile(r" script: (?:\S+ )?on @user_script:\d+\.?\s*$")

_BY_CODE: Mapping[str, tuple[Kind, str]] = {
    "LOADING": (Kind.NOT_READY, ""),
    "MASTERDOWN": (Kind.NOT_READY, ""),
    "CLUSTERDOWN": (Kind.NOT_READY, ""),
    "TRYAGAIN": (Kind.NOT_READY, ""),
    "BUSY": (Kind.NOT_READY, "somebody's script runs too long: SCRIPT KILL ends it"),
    "READONLY": (Kind.NOT_WRITABLE, "this is a replica: REDIS_URL must name the primary, or the Sentinels"),
    "MISCONF": (Kind.NOT_WRITABLE, "Redis cannot save to its disk: see the server's log"),
    "NOREPLICAS": (Kind.NOT_WRITABLE, "the server waits for replicas (min-replicas-to-write)"),
    "OOM": (Kind.FULL, "Redis is full: raise maxmemory"),
    "NOAUTH": (Kind.DENIED, "Redis wants a password: set REDIS_SHARED_SECRET or REDIS_PASSWORD_FILE"),
    "WRONGPASS": (Kind.DENIED, _PASSWORD),
    "DENIED": (Kind.DENIED, "Redis is in protected mode: give it a password, or bind it to this host alone"),
    "MOVED": (Kind.DENIED, _CLUSTER),
    "ASK": (Kind.DENIED, _CLUSTER),
    "CROSSSLOT": (Kind.DENIED, _CLUSTER),
    "NOSCRIPT": (Kind.NO_SCRIPT, ""),
    "WRONGTYPE": (Kind.BAD_VALUE, ""),
}
# Texts that have no code of their own, most of them of older servers. The first that is found counts.
_BY_TEXT = (
    (r"'(eval|evalsha|script)\b.*' command|unknown command .eval", Kind.NO_EVAL, _SCRIPTS),
    (r"channel|'p?(un)?(publish|subscribe)' command", Kind.NO_CHANNEL, _BELLS),
    (r"unknown command .p?(un)?(publish|subscribe)\b", Kind.NO_CHANNEL, _OLD),
    (r"access (one of the|a|at least one of the) keys?\b", Kind.DENIED, _KEYS),
    (r"can't run this command", Kind.DENIED, _INSIDE_SCRIPTS),
    (r"unknown (redis )?(sub)?command", Kind.DENIED, _OLD),
    (r"invalid password|operation not permitted", Kind.DENIED, _PASSWORD),
    (
        r"no password is set|without any password",
        Kind.DENIED,
        "take our password away, or give the server one",
    ),
    (r"arguments for 'auth'", Kind.DENIED, "user names need Redis 6.0: take the one in REDIS_URL away"),
    (r"DB index|SELECT is not allowed", Kind.DENIED, "check REDIS_DB, or the database in REDIS_URL"),
    (r"non local key in a cluster", Kind.DENIED, _CLUSTER),
    (r"max number of clients", Kind.NOT_READY, "raise the server's maxclients"),
)
_FORBIDDEN = re.compile(r"permissions to run the '([^']+)' command")


def _diagnose_reply(text: str) -> Diagnosis:
    in_script = "script" in text
    text = _SCRIPT_TAIL.sub("", text)
    if text.startswith(("ERR ", "EXECABORT ")) and (wrapped := _WRAPPED.match(text)):
        text = text[wrapped.end() :]
    text = text.strip()
    code = text.partition(" ")[0]
    if code in _BY_CODE:
        kind, remedy = _BY_CODE[code]
        return Diagnosis(kind, text, remedy)
    for pattern, kind, remedy in _BY_TEXT:
        if re.search(pattern, text, re.IGNORECASE):
            return Diagnosis(kind, text, remedy)
    if forbidden := _FORBIDDEN.search(text):
        # A script meets one after the other.
        return Diagnosis(
            Kind.DENIED, text, _INSIDE_SCRIPTS if in_script else f"add to the ACL: +{forbidden[1]}"
        )
    return Diagnosis(Kind.DENIED if code == "NOPERM" else Kind.OTHER, text)
