"""The settings of a process: one frozen object that checks itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from botvisor.errors import SettingsError

from .rules import SECRET_FIELDS, find_problems, sentence
from .secret import Secret

_LOCAL_REDIS = Secret("redis://localhost:6379")


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
        blocked_after_s: how long the event loop may stand still before the bot counts as blocked; 0 never.
        probe_host: the address on which a bot answers probes; 0.0.0.0 is every one of this host.
        probe_port: the port on which a bot answers probes over HTTP; 0 takes any, which the log names; None
            answers none.
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
    redis_url: Secret = _LOCAL_REDIS
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
    blocked_after_s: float = 2.0
    probe_host: str = "127.0.0.1"
    probe_port: int | None = None
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


def _wrapped(field: str, value: Any) -> Any:
    """Return a field's value in the field's own type where a plain text was given."""
    if not isinstance(value, str):
        return value
    if field in SECRET_FIELDS:
        return Secret(value)
    if field == "log_level":
        return value.upper()
    return Path(value) if field.endswith(("_dir", "_file")) else value
