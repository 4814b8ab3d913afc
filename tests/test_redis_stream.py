"""Connecting to Redis: TCP, a unix socket, TLS with certificates of a throw-away authority."""

import errno
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener

from botvisor.actors.backend.link import Link
from botvisor.actors.backend.redis_endpoint import Endpoint, Tls, endpoint_of
from botvisor.actors.backend.redis_errors import EndpointUnusable, Kind, LinkLost, TLSRefused, diagnose
from botvisor.actors.backend.redis_stream import connect, reason_of
from botvisor.config.settings import Settings
from botvisor.testing import open_proxy

from . import redis_server

servers = redis_server.servers

PING = ("PING",)


def openssl(*arguments):
    command = ["openssl", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def new_certificate(folder, name, authority, extension):
    """Make ``name.crt`` and ``name.key``, signed by an authority, or by itself if that is None."""
    key, request, cert = (folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
    openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
    extensions = folder / f"{name}.ext"
    extensions.write_text(extension)
    signer = ("-signkey", key)
    if authority is not None:
        ca = folder / authority
        signer = ("-CA", ca.with_suffix(".crt"), "-CAkey", ca.with_suffix(".key"), "-CAcreateserial")
    openssl("x509", "-req", "-in", request, *signer, "-days", "2", "-extfile", extensions, "-out", cert)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with an authority, a foreign one, the server's certificate for redis.internal, and ours."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("ca", "foreign"):
        new_certificate(
            folder, name, None, "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign"
        )
    new_certificate(folder, "server", "ca", "subjectAltName=DNS:redis.internal")
    new_certificate(folder, "client", "ca", "extendedKeyUsage=clientAuth")
    return folder


@pytest.fixture
async def tls_server(servers, certificates):
    """A server behind TLS."""
    async with open_proxy((await servers()).port, tls=server_context(certificates)) as before:
        yield before


def server_context(folder, *, asks_clients=False):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.crt")
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    if asks_clients:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def ping(port, **tls):
    endpoint = Endpoint(host="127.0.0.1", port=port, tls=Tls(**tls))
    link = await Link.open(endpoint, connect_timeout_s=5)
    try:
        return await link.execute([PING, ("ECHO", b"x" * 200_000)])
    finally:
        await link.aclose()


PONG = [b"PONG", b"x" * 200_000]


async def test_tcp_has_no_delay_and_is_kept_alive(servers):
    server = await servers()
    async with await connect(endpoint_of(Settings(redis_url=server.url))) as stream:
        raw = stream.extra(SocketAttribute.raw_socket)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 15


async def test_a_unix_socket_carries_batches(servers):
    server = await servers()
    endpoint = endpoint_of(Settings(redis_url=f"unix://{server.socket}?db=1"))
    link = await Link.open(endpoint, connect_timeout_s=5)
    assert await link.execute([PING, ("ECHO", b"x" * 200_000)]) == PONG
    await link.aclose()


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        (Endpoint(host="127.0.0.1", port=1), "Connection refused"),
        (Endpoint(host="localhost", port=1), "Connection refused"),
        (Endpoint(path="/nowhere/redis.sock"), "No such file or directory"),
    ],
)
async def test_nobody_there_is_said_in_the_words_of_the_system(endpoint, reason):
    with pytest.raises(LinkLost) as caught:
        await connect(endpoint)
    assert str(caught.value) == f"{endpoint.address}: {reason}"


def test_of_several_addresses_the_first_one_says_why():
    texts = [f"[Errno {number}] Connect call failed" for number in (errno.ECONNREFUSED, errno.EHOSTUNREACH)]
    assert reason_of(OSError(f"Multiple exceptions: {', '.join(texts)}")) == "Connection refused"


@pytest.mark.parametrize("host", ["redis.invalid", "a" * 64 + ".invalid"])
async def test_a_host_that_is_not_known_is_unreachable(host):
    with pytest.raises(LinkLost) as caught:
        await connect(Endpoint(host=host))
    assert diagnose(caught.value).kind is Kind.UNREACHABLE


async def test_a_private_authority_is_trusted_when_named(tls_server, certificates):
    ca = certificates / "ca.crt"
    assert await ping(tls_server.port, ca_file=ca, server_name="redis.internal") == PONG


@pytest.mark.parametrize(
    ("ca", "server_name", "reason"),
    [
        ("foreign.crt", "redis.internal", "certificate"),
        (None, "redis.internal", "certificate"),
        ("ca.crt", "other.internal", "mismatch"),
        ("ca.crt", None, "mismatch"),
    ],
)
async def test_a_certificate_that_does_not_fit_is_refused(tls_server, certificates, ca, server_name, reason):
    ca_file = certificates / ca if ca else None
    with pytest.raises(TLSRefused, match=reason) as caught:
        await ping(tls_server.port, ca_file=ca_file, server_name=server_name)
    assert diagnose(caught.value).kind is Kind.DENIED
    assert "REDIS_TLS_" in diagnose(caught.value).remedy


async def test_any_certificate_will_do_when_the_setting_says_so(tls_server):
    assert await ping(tls_server.port, insecure=True) == PONG


async def test_a_server_that_asks_for_a_certificate_gets_ours(servers, certificates):
    context = server_context(certificates, asks_clients=True)
    tls = {"ca_file": certificates / "ca.crt", "server_name": "redis.internal"}
    async with open_proxy((await servers()).port, tls=context) as before:
        ours = {"cert_file": certificates / "client.crt", "key_file": certificates / "client.key"}
        assert await ping(before.port, **tls, **ours) == PONG
        # The alert may be lost where the server hangs up at once.
        with pytest.raises(LinkLost) as caught:
            await ping(before.port, **tls)
        assert "TLS" in caught.value.reason


async def test_a_server_that_hangs_up_without_having_our_certificate_may_have_wanted_it(certificates):
    context = server_context(certificates)

    async def hang_up(stream):
        async with stream:
            await stream.receive()

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with (
        TLSListener(listener, context, standard_compatible=False) as tls,
        anyio.create_task_group() as group,
    ):
        group.start_soon(tls.serve, hang_up)
        port = listener.extra(SocketAttribute.local_port)
        with pytest.raises(LinkLost) as caught:
            await ping(port, ca_file=certificates / "ca.crt", server_name="redis.internal")
        assert caught.value.reason.endswith("if the server asks for certificates, set REDIS_TLS_CERT_FILE")
        ours = {"cert_file": certificates / "client.crt", "key_file": certificates / "client.key"}
        with pytest.raises(LinkLost) as caught:
            await ping(port, ca_file=certificates / "ca.crt", server_name="redis.internal", **ours)
        assert "REDIS_TLS_CERT_FILE" not in caught.value.reason
        group.cancel_scope.cancel()


async def test_a_certificate_that_cannot_be_read_is_named(tls_server):
    with pytest.raises(EndpointUnusable, match="the CA file /missing"):
        await ping(tls_server.port, ca_file=Path("/missing"))


async def test_a_plain_link_to_a_server_with_tls_is_lost(tls_server):
    with pytest.raises(LinkLost):
        await Link.open(Endpoint(host="127.0.0.1", port=tls_server.port), connect_timeout_s=5)


async def test_tls_that_breaks_ends_the_batch(tls_server, certificates):
    tls = Tls(ca_file=certificates / "ca.crt", server_name="redis.internal")
    link = await Link.open(Endpoint(host="127.0.0.1", port=tls_server.port, tls=tls), connect_timeout_s=5)
    tls_server.reset()
    with pytest.raises(LinkLost):
        await link.execute([PING])
    assert link.broken
