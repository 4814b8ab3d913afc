"""The URL of a Redis: taken apart, and refused where it cannot be used."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from botvisor.errors import SettingsError

REDIS_PORT = 6379
SENTINEL_PORT = 26379
# The options of redis-py's URLs that mean the same here.
KNOWN_OPTIONS = (
    "cluster", "db", "username", "password", "sentinel_username", "sentinel_password",
    "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
)  # fmt: skip


class RedisUrl(msgspec.Struct, frozen=True, kw_only=True):
    """What a URL says. It may hold a password: never show it.

    Args:
        secure: TLS is wanted.
        hosts: the server, or the Sentinels, or nodes of a cluster; none for a unix socket.
        cluster: they are nodes of a cluster.
        path: the unix socket.
        service: what the Sentinels call the server.
        username: empty if there is none.
        password: empty if there is none.
        db: the database.
        options: what follows the question mark.
    """

    secure: bool
    hosts: tuple[tuple[str, int], ...] = ()
    cluster: bool = False
    path: str | None = None
    service: str | None = None
    username: str = ""
    password: str = ""
    db: int
    options: dict[str, str]


def parse(text: str) -> RedisUrl:
    """Take a URL apart. Like redis-py, prefer an option to what stands before the question mark.

    Args:
        text: ``redis://[user:password@]host[:port][/db]``, ``rediss://…``, ``unix://[user:password@]/path``,
            ``redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]``, or
            ``redis+cluster://[user:password@]host[:port][,host[:port]…]``.

    Raises:
        SettingsError: when it cannot be used. No part of the URL is shown, nor by a traceback that tells what
            variables hold.
    """
    try:
        return _parse(text)
    except SettingsError as error:
        problems = error.problems
    raise SettingsError(problems)


def _parse(text: str) -> RedisUrl:
    parts = urlsplit(text)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    kind = parts.scheme.partition("+")[2] or parts.scheme
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    path, service, db = None, None, ""
    if kind == "unix":
        path = unquote(parts.path)
        if hosts or not path:
            raise SettingsError(
                ["redis_url must name a unix socket by its whole path: unix:///run/redis.sock"]
            )
    elif kind == "sentinel":
        service, _, db = parts.path.strip("/").partition("/")
        if not service or not hosts:
            raise SettingsError(
                ["redis_url must name the Sentinels and the service: redis+sentinel://host1,host2/service"]
            )
    else:
        db = parts.path.strip("/")
        if "," in hosts and kind != "cluster":
            raise SettingsError(
                ["redis_url must name one server; redis+sentinel:// and redis+cluster:// take several hosts"]
            )
    default_port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    return RedisUrl(
        secure=parts.scheme.startswith("rediss"),
        hosts=tuple(_host_port(host, default_port) for host in hosts.split(",")) if path is None else (),
        cluster=kind == "cluster",
        path=path,
        service=unquote(service) if service else None,
        username=options.get("username", unquote(username)),
        password=options.get("password", unquote(password)),
        db=_number(options.get("db", db) or "0", "database"),
        options=options,
    )


def _host_port(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    return host.lower() or "localhost", _number(port, "port") if port else default_port


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65_536):
        # What stands there instead is not shown: an unescaped password shifts the parts of its URL.
        raise SettingsError([f"redis_url must have a number as its {what}; is its password percent-encoded?"])
    return int(text)
