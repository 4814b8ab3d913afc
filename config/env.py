"""The environment's variables, and the only code that reads them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from botvisor.errors import SettingsError

from .rules import expectation, find_problems, sentence
from .secret import Secret
from .settings import Settings

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


class Variable(NamedTuple):
    """One variable of the environment.

    Args:
        field: the field of `Settings` that it sets.
        default: what counts when it is unset, as one would write it; empty where there is none.
        read: turns the variable's text into the field's value; raises ValueError when it cannot.
    """

    field: str
    default: str
    read: Callable[[str], Any]


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError(word)


VARIABLES: Mapping[str, Variable] = {
    "USE_REDIS": Variable("use_redis", "false", _flag),
    "REDIS_URL": Variable("redis_url", "redis://localhost:6379", lambda text: Secret(text.strip())),
    "REDIS_DB": Variable("redis_db", "0", int),
    "REDIS_AUTH_REQUIRED": Variable("redis_auth_required", "false", _flag),
    "REDIS_SHARED_SECRET": Variable("redis_shared_secret", "", Secret),
    "REDIS_PASSWORD_FILE": Variable("redis_password_file", "", Path),
    "REDIS_TLS_CA_FILE": Variable("redis_tls_ca_file", "", Path),
    "REDIS_TLS_CERT_FILE": Variable("redis_tls_cert_file", "", Path),
    "REDIS_TLS_KEY_FILE": Variable("redis_tls_key_file", "", Path),
    "REDIS_TLS_SERVER_NAME": Variable("redis_tls_server_name", "", str.strip),
    "REDIS_TLS_INSECURE": Variable("redis_tls_insecure", "false", _flag),
    "REDIS_CONNECT_TIMEOUT_SECS": Variable("redis_connect_timeout_s", "5", float),
    "REDIS_COMMAND_TIMEOUT_SECS": Variable("redis_command_timeout_s", "5", float),
    "BOT_ID": Variable("bot_id", "", str.strip),
    "BOT_FILE_FALLBACK": Variable("file_fallback", "true", _flag),
    "BOT_HEARTBEAT_INTERVAL_SECS": Variable("heartbeat_interval_s", "10", float),
    "BOT_HEARTBEAT_STALE_SECS": Variable("heartbeat_stale_s", "30", float),
    "BOT_ZOMBIE_SPAWN_GRACE_SECS": Variable("zombie_spawn_grace_s", "45", float),
    "BOT_ZOMBIE_REQUIRED_STALE_HITS": Variable("zombie_required_stale_hits", "2", int),
    "BOT_BLOCKED_AFTER_SECS": Variable("blocked_after_s", "2", float),
    "BOT_PROBE_HOST": Variable("probe_host", "127.0.0.1", str.strip),
    "BOT_PROBE_PORT": Variable("probe_port", "", int),
    "BOT_SERVER_REAP_INTERVAL_SECS": Variable("server_reap_interval_s", "10", float),
    "BOT_ADMIN_MESSAGE_DIR": Variable("admin_message_dir", "/tmp/pipecat-bot-admin-messages", Path),  # noqa: S108
    "BOT_HEARTBEAT_DIR": Variable("heartbeat_dir", "/tmp/pipecat-bot-heartbeats", Path),  # noqa: S108
    "BOT_IDENTITY_DIR": Variable("identity_dir", "/tmp/pipecat-bot-identity", Path),  # noqa: S108
    "BOT_CANONICALIZE_LOWER_PATH": Variable("canonicalize_lower_path", "false", _flag),
    "BOT_LOG_LEVEL": Variable("log_level", "", lambda text: text.strip().upper()),
}


def load_settings(
    environ: Mapping[str, str] | None = None, *, over: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings from the environment.

    A variable that is unset or empty leaves its field's default; other names are ignored.

    Args:
        environ: the variables; the process's own when None.
        over: variables that count in place of those.

    Returns:
        The settings, checked.

    Raises:
        SettingsError: one or more variables are wrong: each is named, with what was expected and,
            unless it is a secret, what it holds.
    """
    source = {**(os.environ if environ is None else environ), **(over or {})}
    given = {name: source[name] for name in VARIABLES if source.get(name, "") != ""}
    defaults = Settings()
    values = {variable.field: getattr(defaults, variable.field) for variable in VARIABLES.values()}
    problems: dict[str, str] = {}
    for name, text in given.items():
        variable = VARIABLES[name]
        try:
            values[variable.field] = variable.read(text)
        except ValueError:
            # Left out of the values, so that no rule about two fields blames the other one.
            del values[variable.field]
            problems[variable.field] = _wanted(variable)
    problems |= find_problems(values)
    if problems:
        raise SettingsError(
            [
                sentence(name, problems[variable.field], variable.field, given.get(name, variable.default))
                for name, variable in VARIABLES.items()
                if variable.field in problems
            ]
        )
    return Settings(**values)


def _wanted(variable: Variable) -> str:
    if variable.read is _flag:
        return f"must be one of {' '.join(TRUE_WORDS)} or {' '.join(FALSE_WORDS)}"
    return expectation(variable.field)


def in_kubernetes(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether this process runs in a Kubernetes pod, where the pid says nothing.

    Args:
        environ: the variables; the process's own when None.
    """
    return "KUBERNETES_SERVICE_HOST" in (os.environ if environ is None else environ)


def read_secret(name: str, environ: Mapping[str, str] | None = None) -> Secret | None:
    """Return the secret that a variable holds, without white space around it; None when it holds none.

    Args:
        name: the variable.
        environ: the variables; the process's own when None.
    """
    text = (os.environ if environ is None else environ).get(name, "").strip()
    return Secret(text) if text else None
