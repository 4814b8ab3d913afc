"""Where Redis is and how to log in: what the settings say, in the form that a link needs."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio.to_thread
import msgspec

from botvisor.config.secret import Secret
from botvisor.config.settings import Settings
from botvisor.errors import SettingsError

from .redis_errors import EndpointUnusable, ErrorReply, LinkLost
from .redis_url import KNOWN_OPTIONS, REDIS_PORT, RedisUrl, parse

_DEFAULT_USER = "default"
_SENTINEL_ANSWER_S = 0.5  # at least, however many Sentinels share the time


class Login(msgspec.Struct, frozen=True):
    """A user name and a password; both may be missing."""

    username: str | None = None
    password: Secret | None = None


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """How the connection is encrypted, and who is trusted.

    Args:
        ca_file: the certificates to trust; None for the system's.
        cert_file: our own certificate.
        key_file: its key; None when the certificate's file holds it.
        server_name: the name that the server's certificate must bear; None for the host's. A Sentinel's
            certificate always has to bear its host's.
        insecure: trust anyone.
    """

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Read the files into a context for a connection. Blocks.

        Raises:
            EndpointUnusable: when one of the files cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise EndpointUnusable(f"the CA file {self.ca_file} cannot be used: {_why(error)}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            try:
                # With a password given, even if empty, OpenSSL never asks for one at the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
            except OSError as error:
                files = " and ".join(str(file) for file in (self.cert_file, self.key_file) if file)
                problem = f"the certificate {files} cannot be used: {_why(error)}"
                raise EndpointUnusable(f"{problem}; its key must not be encrypted") from error
        return context


class Sentinels(msgspec.Struct, frozen=True):
    """Who knows which server is the primary.

    Args:
        hosts: the Sentinels, asked in this order.
        service: the name under which they watch the primary.
        login: for the Sentinels themselves.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    login: Login = Login()


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One Redis server, or the Sentinels that know which one it is. Shown, it has no secrets.

    Args:
        host: the server's host.
        port: its port.
        path: its unix socket, in place of host and port.
        tls: None for a plain connection.
        login: the user name, and the password unless a file has it.
        password_file: holds the password; read at each connect, so a new password needs no restart.
        db: the database.
        sentinels: whom to ask for host and port.
        nodes: of a Redis Cluster, any of which will do in place of host and port.
        warnings: what the settings say that somebody should know; sentences.
    """

    host: str = "localhost"
    port: int = REDIS_PORT
    path: str | None = None
    tls: Tls | None = None
    login: Login = Login()
    password_file: Path | None = None
    db: int = 0
    sentinels: Sentinels | None = None
    nodes: tuple[tuple[str, int], ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Where it is, for people."""
        if self.sentinels is not None:
            return f"{self.sentinels.service} at {', '.join(_shown(*host) for host in self.sentinels.hosts)}"
        if self.nodes:
            return ", ".join(_shown(*node) for node in self.nodes)
        return f"unix:{self.path}" if self.path is not None else _shown(self.host, self.port)

    def at(self, host: str, port: int) -> Endpoint:
        """Return one node of a cluster, to log in to as to this one."""
        return msgspec.structs.replace(self, host=host, port=port, path=None, nodes=())

    def credentials(self) -> tuple[str | bytes, ...]:
        """Return the arguments of AUTH; none when there is nothing to log in with. Blocks on a password file.

        Raises:
            EndpointUnusable: when the file cannot be read or is empty.
        """
        password: str | bytes = self.login.password.reveal() if self.login.password else ""
        if self.password_file is not None:
            password = _read_password(self.password_file)
        # Whoever names none is the default user; and Redis 5, which has no users, wants none named.
        if self.login.username and not (password and self.login.username == _DEFAULT_USER):
            return (self.login.username, password)
        return (password,) if password else ()


def endpoint_of(settings: Settings) -> Endpoint:
    """Return where Redis is, by the settings.

    A setting beats the URL. The password is the shared secret, else the password file's, else the URL's; the
    user name is the URL's. The database is the setting's if there is one, else the URL's, else 0. A Sentinel
    URL is ``redis+sentinel://[user:password@]host[:port][,host…]/service[/db]``, its user being the server's;
    the Sentinels' own comes from the options ``sentinel_username`` and ``sentinel_password``. A cluster's is
    ``redis+cluster://[user:password@]host[:port][,host…]``; the plain URL of one of its nodes will do, too.

    Raises:
        SettingsError: when the URL cannot be used.
    """
    url = parse(settings.redis_url.reveal())
    tls = _tls(settings, url)
    secret = settings.redis_shared_secret or None
    password_file = settings.redis_password_file if secret is None else None
    password = secret or (Secret(url.password) if url.password and password_file is None else None)
    warnings = []
    if tls is not None and tls.insecure:
        warnings.append("the certificates of Redis are not checked: REDIS_TLS_INSECURE is on")
    if url.options.keys() - set(KNOWN_OPTIONS):
        warnings.append(f"options of REDIS_URL were ignored: those that count are {', '.join(KNOWN_OPTIONS)}")
    sentinels = None
    if url.service is not None:
        own = url.options.get("sentinel_password")
        login = Login(url.options.get("sentinel_username"), Secret(own) if own else None)
        sentinels = Sentinels(url.hosts, url.service, login)
    host, port = url.hosts[0] if url.hosts and sentinels is None else ("", 0)
    return Endpoint(
        host=host,
        port=port,
        path=url.path,
        tls=tls,
        login=Login(url.username or None, password),
        password_file=password_file,
        db=url.db if settings.redis_db is None else settings.redis_db,
        sentinels=sentinels,
        nodes=url.hosts if url.cluster else (),
        warnings=tuple(warnings),
    )


async def resolve(endpoint: Endpoint, *, timeout_s: float) -> Endpoint:
    """Return the endpoint of the server that is the primary now; without Sentinels, the same one.

    They are asked one after the other, through redis-py in a thread. Protocol: redis.io, "Guidelines for
    Redis clients with support for Redis Sentinel". Whether the server still is the primary shows with the
    first write, as READONLY.

    Args:
        endpoint: the endpoint.
        timeout_s: for all Sentinels together, about.

    Raises:
        LinkLost: when none of them names a primary.
    """
    if endpoint.sentinels is None:
        return endpoint
    found = await anyio.to_thread.run_sync(
        _ask, endpoint, endpoint.sentinels, timeout_s, abandon_on_cancel=True
    )
    if isinstance(found, str):
        raise LinkLost(endpoint.address, found)
    host, port = found
    return msgspec.structs.replace(endpoint, host=host, port=port, sentinels=None)


def _ask(endpoint: Endpoint, sentinels: Sentinels, timeout_s: float) -> tuple[str, int] | str:
    """Return the primary's host and port, or why no Sentinel told them."""
    import redis  # costs half a second, so only who has Sentinels pays

    limit_s = max(timeout_s / len(sentinels.hosts), _SENTINEL_ANSWER_S)
    options: dict[str, Any] = {"socket_timeout": limit_s, "socket_connect_timeout": limit_s}
    options["decode_responses"] = True
    # Retries are ours to make; and Sentinels older than 6.0 do not know the HELLO of RESP3.
    options["retry"] = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    if int(redis.__version__.partition(".")[0]) >= 5:
        options["protocol"] = 2
    if (password := sentinels.login.password) is not None:
        options |= {"username": sentinels.login.username, "password": password.reveal()}
    if (tls := endpoint.tls) is not None:
        files = {"ca_certs": tls.ca_file, "certfile": tls.cert_file, "keyfile": tls.key_file}
        options |= {f"ssl_{name}": str(file) for name, file in files.items() if file is not None}
        options |= {"ssl": True, "ssl_check_hostname": not tls.insecure}
        options["ssl_cert_reqs"] = "none" if tls.insecure else "required"
    answers = []
    for host, port in sentinels.hosts:
        try:
            with redis.Redis(host=host, port=port, **options) as client:
                found = client.sentinel_get_master_addr_by_name(sentinels.service)
        except redis.RedisError as error:
            answers.append(f"{_shown(host, port)}: {ErrorReply(str(error))}")
            continue
        if found is not None:
            return str(found[0]), int(found[1])
        answers.append(f"the Sentinel {_shown(host, port)} knows no service {sentinels.service}")
    return "; ".join(answers)


def _tls(settings: Settings, url: RedisUrl) -> Tls | None:
    names = ("redis_tls_ca_file", "redis_tls_cert_file", "redis_tls_key_file", "redis_tls_server_name")
    given = [name for name in names if getattr(settings, name) is not None]
    if not url.secure:
        if given:
            raise SettingsError([f"{name} needs a URL that begins with rediss" for name in given])
        return None
    return Tls(
        ca_file=settings.redis_tls_ca_file or _path(url.options.get("ssl_ca_certs")),
        cert_file=settings.redis_tls_cert_file or _path(url.options.get("ssl_certfile")),
        key_file=settings.redis_tls_key_file or _path(url.options.get("ssl_keyfile")),
        server_name=settings.redis_tls_server_name,
        insecure=settings.redis_tls_insecure,
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _read_password(file: Path) -> bytes:
    try:
        password = file.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise EndpointUnusable(f"the password file {file} cannot be read: {_why(error)}") from error
    if not password:
        raise EndpointUnusable(f"the password file {file} is empty")
    return password


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _shown(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
