"""The rules that settings keep: each field's own, and those between fields."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .secret import Secret

# loguru's own names; kept here because importing loguru only to read them costs 0.2 s.
LEVEL_NAMES = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
URL_SCHEMES = (
    *("redis", "rediss", "unix"),
    *("redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"),
)
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
    return found | _conflicts({name: value for name, value in values.items() if name not in found})


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


def _conflicts(good: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong between fields that are each right by themselves."""
    found: dict[str, str] = {}
    if "redis_url" in good:
        url = good["redis_url"].reveal()
        if problem := _url_problem(url, weak_tls_allowed=good.get("redis_tls_insecure", True)):
            found["redis_url"] = problem
        elif good.get("redis_auth_required") and not _has_password(url, good):
            found["redis_auth_required"] = (
                "needs a password: a shared secret, a password file, or one in the URL"
            )
    if good.get("redis_tls_key_file") and good.get("redis_tls_cert_file", True) is None:
        found["redis_tls_key_file"] = "needs the certificate file that the key belongs to"
    if good.get("file_fallback") is False and good.get("use_redis") is False:
        found["file_fallback"] = "must stay on while Redis is off: no store would be left"
    return found


class _Rule(NamedTuple):
    fits: Callable[[Any], bool]
    expected: str


def _number(
    kind: type[Any] | tuple[type[Any], ...],
    noun: str,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
) -> _Rule:
    """Return the rule of a finite number from `low` (or above it) to `high`."""

    def fits(value: Any) -> bool:
        # Not math.isfinite: a whole number of 400 digits would overflow it.
        if not isinstance(value, kind) or isinstance(value, bool) or value == math.inf:
            return False
        return bool((value > low if above else value >= low) and value <= high)

    limits = f"above {low:g}" if above else f"from {low:g}"
    return _Rule(fits, f"must be {noun} {limits}" + ("" if high == math.inf else f", up to {high:g}"))


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
    "blocked_after_s": _seconds(),
    "probe_host": _TEXT,
    "probe_port": _optional(_number(int, "a whole number", 0, 65_535)),
    "server_reap_interval_s": _seconds(),
    "admin_message_dir": _DIRECTORY,
    "heartbeat_dir": _DIRECTORY,
    "identity_dir": _DIRECTORY,
    "canonicalize_lower_path": _FLAG,
    "log_level": _optional(
        _Rule(_is_level, f"must be one of {' '.join(LEVEL_NAMES)}, or a whole number from 0")
    ),
}


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
            return f"must not weaken TLS by {option}: only the setting for insecure TLS may"
    return None


def _has_password(url: str, good: Mapping[str, Any]) -> bool:
    # A field that could not be judged counts as a password: its own problem is reported already.
    if any(good.get(name, True) for name in ("redis_shared_secret", "redis_password_file")):
        return True
    parts = urlsplit(url)
    return bool(parts.password or dict(parse_qsl(parts.query)).get("password"))
