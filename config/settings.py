"""The settings of a process: one frozen object that checks itself, and the secrets in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from botvisor.errors import SettingsError

# loguru's own names; kept here because importing loguru only to read them costs 0.2 s.
LEVEL_NAMES = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
URL_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SECRET_FIELDS = frozenset({"redis_url", "redis_shared_secret"})

_BOT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# Options of a Redis URL that can weaken TLS, each with the values under which it does not.
_TLS_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "ssl_cert_reqs": ("required", "cert_required"),
    "ssl_check_hostname": ("true", "yes", "on", "1"),
    "ssl_ciphers": (),
    "ssl_exclude_verify_flags": (),
    "ssl_min_version": (),
}


class Secret:
    """A text that must not be shown: printed, formatted or logged, it is ``***``.

    Args:
        value: the text to hold.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, format_spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything a process can be told from outside; `load_settings` reads it from the environment.

    A text given for a secret or for a path is wrapped in its type. All durations are in seconds.

    Args:
        use_redis: use Redis, with the files behind it; otherwise the files alone.
        redis_url: where Redis is. The whole URL counts as a secret, since it may hold a password.
        redis_db: the database number; None leaves the choice to the URL.
        redis_auth_required: refuse to start without a password for Redis.
        redis_shared_secret: the password for Redis.
        redis_password_file: a file that holds the password for Redis.
        redis_tls_ca_file: the certificates to trust, in place of the system's.
        redis_tls_cert_file: the client's certificate.
        redis_tls_key_file: the key of the client's certificate.
        redis_tls_server_name: the name that the server's certificate must bear.
        redis_tls_insecure: accept any certificate; the only way to weaken TLS.
        redis_connect_timeout_s: the longest a connection attempt may take.
        redis_command_timeout_s: the longest a command may take.
        bot_id: the id of the first bot, the same across restarts and hosts; None derives one.
        file_fallback: keep to files while Redis is away; off, no directory is touched.
        heartbeat_interval_s: the time between two heartbeats. At most 15, half of the 30 that a
            heartbeat lives, so that one lost beat does not make a bot look dead.
        heartbeat_stale_s: the age at which a heartbeat is stale.
        zombie_spawn_grace_s: how long after its start a bot is never taken for a zombie.
        zombie_required_stale_hits: stale looks in a row that make a bot a zombie.
        server_reap_interval_s: the time between two searches for zombies; 0 makes none.
        admin_message_dir: the directory of admin messages.
        heartbeat_dir: the directory of heartbeats.
        identity_dir: the directory of identities.
        canonicalize_lower_path: lower-case the path of a room URL before comparing rooms.
        log_level: the level `run_bot` sets when it is given none: a loguru name, which is held in
            upper case, or a number as text.

    Raises:
        SettingsError: naming every field that is wrong, not only the first.
    """

    use_redis: bool = False
    redis_url: Secret = Secret("redis://localhost:6379")
    redis_db: int | None = None
    redis_auth_required: bool = False
    redis_shared_secret: Secret | None = None
    redis_password_file: Path | None = None
    redis_tls_ca_file: Path | None = None
    redis_tls_cert_file: Path | None = None
    redis_tls_key_file: Path | None = None
    redis_tls_server_name: str | None = None
    redis_tls_insecure: bool = False
    redis_connect_timeout_s: float = 5.0
    redis_command_timeout_s: float = 5.0
    bot_id: str | None = None
    file_fallback: bool = True
    heartbeat_interval_s: float = 10.0
    heartbeat_stale_s: float = 30.0
    zombie_spawn_grace_s: float = 45.0
    zombie_required_stale_hits: int = 2
    server_reap_interval_s: float = 10.0
    admin_message_dir: Path = Path("/tmp/pipecat-bot-admin-messages")  # noqa: S108  the store checks its owner
    heartbeat_dir: Path = Path("/tmp/pipecat-bot-heartbeats")  # noqa: S108
    identity_dir: Path = Path("/tmp/pipecat-bot-identity")  # noqa: S108
    canonicalize_lower_path: bool = False
    log_level: str | None = None

    def __post_init__(self) -> None:
        values = {field.name: _wrapped(field.name, getattr(self, field.name)) for field in fields(self)}
        problems = find_problems(values)
        if problems:
            raise SettingsError([sentence(name, text, name, values[name]) for name, text in problems.items()])
        for name, value in values.items():
            object.__setattr__(self, name, value)


def valid_bot_id(text: str) -> bool:
    """Return whether a text may be a bot's id: 1 to 128 of ``A-Z a-z 0-9 . _ : -``."""
    return _BOT_ID.fullmatch(text) is not None


def expectation(field: str) -> str:
    """Return what a field's value must be, as the end of a sentence that its name begins."""
    return _RULES[field].expected


def find_problems(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with some fields' values: field → the end of a sentence about it.

    Args:
        values: field → value. A field left out is not judged, nor is a rule that would need it.
    """
    found = {
        name: rule.expected for name, rule in _RULES.items() if name in values and not rule.fits(values[name])
    }
    good = {name: value for name, value in values.items() if name not in found}
    url = good["redis_url"].reveal() if "redis_url" in good else None
    if url is not None and (
        problem := _url_problem(url, weak_tls_allowed=good.get("redis_tls_insecure", True))
    ):
        found["redis_url"] = problem
    passwords = ("redis_shared_secret", "redis_password_file")
    if good.get("redis_auth_required") and url is not None and all(name in good for name in passwords):
        if not any(good[name] for name in passwords) and not _url_has_password(url):
            found["redis_auth_required"] = (
                "needs a password: a shared secret, a password file, or one in the URL"
            )
    if good.get("redis_tls_key_file") and good.get("redis_tls_cert_file", True) is None:
        found["redis_tls_key_file"] = "needs the certificate file that the key belongs to"
    if good.get("file_fallback") is False and good.get("use_redis") is False:
        found["file_fallback"] = "must stay on while Redis is off: no store would be left"
    return found


def sentence(name: str, problem: str, field: str, value: object) -> str:
    """Return one line about a bad value; the value is quoted unless it is a secret.

    Args:
        name: how to call the setting: its field, or its variable.
        problem: what is wrong, as `find_problems` has it.
        field: the field, which tells whether the value is a secret.
        value: the value as it was given.
    """
    if field in SECRET_FIELDS:
        return f"{name} {problem}"
    shown = repr(str(value) if isinstance(value, Path) else value)
    return f"{name} {problem}; it is {shown if len(shown) <= 80 else shown[:77] + '...'}"


class _Rule(NamedTuple):
    fits: Callable[[Any], bool]
    expected: str


def _number(
    kind: type | tuple[type, ...], noun: str, low: float, high: float = math.inf, *, above: bool = False
) -> _Rule:
    """Return the rule of a finite number from `low` (or above it) to `high`."""

    def fits(value: Any) -> bool:
        if not isinstance(value, kind) or isinstance(value, bool) or not math.isfinite(value):
            return False
        return bool((value > low if above else value >= low) and value <= high)

    limits = f"above {low:g}" if above else f"of at least {low:g}"
    return _Rule(fits, f"must be {noun} {limits}" + ("" if high == math.inf else f" and at most {high:g}"))


def _seconds(low: float = 0, high: float = math.inf, *, above: bool = False) -> _Rule:
    return _number((int, float), "a number of seconds", low, high, above=above)


def _optional(rule: _Rule) -> _Rule:
    return _Rule(lambda value: value is None or rule.fits(value), rule.expected)


def _is_level(value: Any) -> bool:
    return isinstance(value, str) and (value in LEVEL_NAMES or (value.isascii() and value.isdigit()))


_FLAG = _Rule(lambda value: isinstance(value, bool), "must be true or false")
_SECRET = _Rule(lambda value: isinstance(value, Secret), "must be a text")
_TEXT = _Rule(lambda value: isinstance(value, str) and value != "", "must be a text that is not empty")
_FILE = _Rule(lambda value: isinstance(value, Path) and "\0" not in str(value), "must be the path of a file")
_DIRECTORY = _Rule(
    lambda value: isinstance(value, Path) and value.is_absolute() and "\0" not in str(value),
    "must be the absolute path of a directory",
)
_RULES: Mapping[str, _Rule] = {
    "use_redis": _FLAG,
    "redis_url": _SECRET,
    "redis_db": _optional(_number(int, "a whole number", 0)),
    "redis_auth_required": _FLAG,
    "redis_shared_secret": _optional(_SECRET),
    "redis_password_file": _optional(_FILE),
    "redis_tls_ca_file": _optional(_FILE),
    "redis_tls_cert_file": _optional(_FILE),
    "redis_tls_key_file": _optional(_FILE),
    "redis_tls_server_name": _optional(_TEXT),
    "redis_tls_insecure": _FLAG,
    "redis_connect_timeout_s": _seconds(above=True),
    "redis_command_timeout_s": _seconds(above=True),
    "bot_id": _Rule(
        lambda value: value is None or (isinstance(value, str) and valid_bot_id(value)),
        "must be 1 to 128 of the characters A-Z a-z 0-9 . _ : -",
    ),
    "file_fallback": _FLAG,
    "heartbeat_interval_s": _seconds(high=15, above=True),
    "heartbeat_stale_s": _seconds(above=True),
    "zombie_spawn_grace_s": _seconds(),
    "zombie_required_stale_hits": _number(int, "a whole number", 1),
    "server_reap_interval_s": _seconds(),
    "admin_message_dir": _DIRECTORY,
    "heartbeat_dir": _DIRECTORY,
    "identity_dir": _DIRECTORY,
    "canonicalize_lower_path": _FLAG,
    "log_level": _optional(
        _Rule(_is_level, f"must be one of {' '.join(LEVEL_NAMES)}, or a whole number from 0")
    ),
}


def _wrapped(field: str, value: Any) -> Any:
    """Return a field's value in the field's own type where a plain text was given."""
    if not isinstance(value, str):
        return value
    if field in SECRET_FIELDS:
        return Secret(value)
    if field == "log_level":
        return value.upper()
    return Path(value) if field.endswith(("_dir", "_file")) else value


def _url_problem(url: str, *, weak_tls_allowed: bool) -> str | None:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("redis", "rediss"):
            _ = parts.port  # reading it is what checks it
    except ValueError:
        return "must be a well-formed URL, such as redis://host:6379"
    if parts.scheme not in URL_SCHEMES:
        return "must begin with one of " + " ".join(f"{scheme}://" for scheme in URL_SCHEMES)
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        option = key.lower()
        if option in _TLS_OPTIONS and value.lower() not in _TLS_OPTIONS[option] and not weak_tls_allowed:
            return f"must not weaken TLS by {option}; if it has to be weak, say so in the setting for insecure TLS"
    return None


def _url_has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password or dict(parse_qsl(parts.query)).get("password"))
    except ValueError:
        return False
