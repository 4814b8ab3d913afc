"""Where Redis is: what settings and URLs say, which of them counts, and what is refused."""

import shutil
import ssl
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from botvisor.actors.backend.redis_endpoint import Endpoint, Login, Tls, endpoint_of, resolve
from botvisor.actors.backend.redis_errors import EndpointUnusable, LinkLost
from botvisor.config.secret import Secret
from botvisor.config.settings import Settings
from botvisor.errors import SettingsError

from . import redis_server

servers = redis_server.servers


def of(url="redis://localhost", **settings):
    return endpoint_of(Settings(redis_url=url, **settings))


def problem(url, **settings):
    with pytest.raises(SettingsError) as caught:
        of(url, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("redis://localhost:6379", "localhost", 6379),
        ("redis://redis-cluster", "redis-cluster", 6379),
        ("redis://", "localhost", 6379),
        ("redis://:6380", "localhost", 6380),
        ("redis://user:pw@HOST.example:6380/3", "host.example", 6380),
        ("redis://[::1]:6380", "::1", 6380),
        ("rediss://[fe80::1]", "fe80::1", 6379),
    ],
)
def test_a_url_names_host_and_port(url, host, port):
    endpoint = of(url)
    assert (endpoint.host, endpoint.port, endpoint.path) == (host, port, None)


@pytest.mark.parametrize("url", ["unix:///run/re%20dis.sock", "unix://:pw@/run/re%20dis.sock?db=2"])
def test_a_url_names_a_unix_socket(url):
    endpoint = of(url)
    assert endpoint.path == "/run/re dis.sock"
    assert endpoint.address == "unix:/run/re dis.sock"


@pytest.mark.parametrize(
    ("url", "setting", "db"),
    [
        ("redis://h", None, 0),
        ("redis://h/", None, 0),
        ("redis://h/3", None, 3),
        ("redis://h/3?db=4", None, 4),
        ("unix:///s?db=5", None, 5),
        ("redis+sentinel://h/name/6", None, 6),
        ("redis://h/3", 0, 0),
        ("redis://h/3", 7, 7),
    ],
)
def test_the_setting_for_the_database_beats_the_url_only_when_set(url, setting, db):
    assert of(url, redis_db=setting).db == db


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("redis://h", ()),
        ("redis://:p%40ss%2Fword@h", ("p@ss/word",)),
        ("redis://us%3Aer:p%3Aw@h", ("us:er", "p:w")),
        ("redis://user@h", ("user", "")),
        ("redis://default:pw@h", ("pw",)),  # as Redis 5 wants it
        ("redis://default@h", ("default", "")),
        ("redis://h?username=user&password=pw", ("user", "pw")),
        ("unix://user:pw@/s", ("user", "pw")),
        ("redis+sentinel://user:pw@h1,h2/name", ("user", "pw")),
    ],
)
def test_a_url_names_user_and_password(url, credentials):
    assert of(url).credentials() == credentials


def test_the_shared_secret_beats_the_password_file_and_the_file_the_url(tmp_path):
    file = tmp_path / "password"
    file.write_text("of the file\n")
    url = "redis://user:of-the-url@h"
    assert of(url, redis_password_file=file).credentials() == ("user", b"of the file")
    both = of(url, redis_password_file=file, redis_shared_secret="the secret")
    assert both.credentials() == ("user", "the secret")
    assert of(url, redis_shared_secret="").credentials() == ("user", "of-the-url")


def test_a_password_file_is_read_each_time(tmp_path):
    file = tmp_path / "password"
    file.write_text("old")
    endpoint = of(redis_password_file=file)
    assert endpoint.credentials() == (b"old",)
    file.write_bytes(b"new \xff\r\n")
    assert endpoint.credentials() == (b"new \xff",)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "cannot be read: No such file or directory"), ("\n", "is empty")]
)
def test_a_password_file_without_a_password_is_named(tmp_path, content, reason):
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    with pytest.raises(EndpointUnusable, match=f"the password file {file} {reason}"):
        of(redis_password_file=file).credentials()


def test_tls_takes_its_files_from_the_settings_or_else_from_the_url():
    settings = {"redis_tls_ca_file": "/ca", "redis_tls_server_name": "redis.internal"}
    tls = of("rediss://h?ssl_ca_certs=/other&ssl_certfile=/cert&ssl_keyfile=/key", **settings).tls
    assert tls == Tls(
        ca_file=Path("/ca"), cert_file=Path("/cert"), key_file=Path("/key"), server_name="redis.internal"
    )
    assert of("redis://h").tls is None


def test_tls_checks_certificates_unless_the_setting_says_otherwise():
    strict = of("rediss://h")
    assert strict.tls.context().verify_mode == ssl.CERT_REQUIRED
    assert strict.tls.context().check_hostname
    assert strict.warnings == ()
    lax = of("rediss://h?ssl_cert_reqs=none", redis_tls_insecure=True)
    assert lax.tls.context().verify_mode == ssl.CERT_NONE
    assert "not checked" in lax.warnings[0]


def test_tls_settings_need_a_url_with_tls():
    text = problem("redis://h", redis_tls_ca_file="/ca", redis_tls_server_name="h")
    assert "redis_tls_ca_file needs a URL that begins with rediss" in text
    assert "redis_tls_server_name needs" in text


def test_a_certificate_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(EndpointUnusable, match="the CA file /missing cannot be used: No such file"):
        Tls(ca_file=Path("/missing")).context()
    file = tmp_path / "cert"
    file.write_text("no certificate")
    with pytest.raises(EndpointUnusable, match=f"the certificate {file} and /key cannot be used"):
        Tls(cert_file=file, key_file=Path("/key")).context()


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the key")
def test_an_encrypted_key_is_refused(tmp_path):
    key, cert = tmp_path / "key", tmp_path / "cert"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-subj", "/CN=x", "-passout", "pass:hunter2", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with pytest.raises(EndpointUnusable, match="cannot be used"):
        Tls(cert_file=cert, key_file=key).context()


def test_a_sentinel_url_names_the_sentinels_and_the_service():
    endpoint = of("rediss+sentinel://h1,h2:26380/my%20name?sentinel_username=su&sentinel_password=sp")
    sentinels = endpoint.sentinels
    assert sentinels.hosts == (("h1", 26379), ("h2", 26380))
    assert (sentinels.service, sentinels.login) == ("my name", Login("su", Secret("sp")))
    assert endpoint.credentials() == ()
    assert endpoint.tls is not None
    assert endpoint.address == "my name at h1:26379, h2:26380"


def test_options_that_are_not_known_are_warned_of_without_being_shown():
    (warning,) = of("redis://h?db=1&decode_responses=hunter2").warnings
    assert "were ignored" in warning
    assert "hunter2" not in warning


def test_a_cluster_url_names_some_of_its_nodes():
    endpoint = of("rediss+cluster://bot:pw@h1:7000,h2")
    assert endpoint.nodes == (("h1", 7000), ("h2", 6379))
    assert endpoint.address == "h1:7000, h2:6379"
    node = endpoint.at("h3", 7003)
    assert (node.address, node.nodes, node.credentials()) == ("h3:7003", (), ("bot", "pw"))
    assert node.tls is not None


def test_the_option_for_a_cluster_is_known_and_not_needed():
    assert of("redis://h?cluster=true").warnings == ()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h/hunter2", "a number as its database"),
        ("redis://h?db=-1", "a number as its database"),
        ("redis://h/99999999999999999999", "a number as its database"),
        ("redis+sentinel://h:hunter2/name", "a number as its port"),
        ("redis+sentinel://h", "name the Sentinels and the service"),
        ("redis+sentinel:///name", "name the Sentinels and the service"),
        ("redis://h1,h2", "must name one server"),
        ("unix://run/redis.sock", "by its whole path"),
        ("unix://", "by its whole path"),
    ],
)
def test_a_url_that_cannot_be_used_says_what_is_wrong_and_shows_nothing_of_itself(url, text):
    found = problem(url)
    assert text in found
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "url", ["redis://user:hunter2@h", "redis+sentinel://:hunter2@h/n?sentinel_password=hunter2"]
)
def test_an_endpoint_shows_no_secret(url):
    for endpoint in (of(url), of(url, redis_shared_secret="hunter2")):
        assert "hunter2" not in f"{endpoint!r} {endpoint} {endpoint.address}"
        assert "***" in repr(endpoint)


def test_only_who_asks_sentinels_imports_redis_py():
    program = "import sys, botvisor.actors.backend.link; sys.exit('redis' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_an_endpoint_without_sentinels_is_itself():
    endpoint = Endpoint(host="h")
    assert await resolve(endpoint, timeout_s=1) is endpoint


async def sentinel_of(servers, primary, *lines, name="mymaster"):
    return await servers(f"sentinel monitor {name} 127.0.0.1 {primary.port} 1", *lines, sentinel=True)


async def test_sentinels_name_the_primary(servers):
    primary = await servers()
    sentinel = await sentinel_of(servers, primary)
    url = f"redis+sentinel://user:pw@127.0.0.1:1,127.0.0.1:{sentinel.port}/mymaster/2"
    found = await resolve(of(url), timeout_s=5)
    assert (found.host, found.port, found.db) == ("127.0.0.1", primary.port, 2)
    assert found.credentials() == ("user", "pw")
    assert found.sentinels is None


async def test_sentinels_have_a_password_of_their_own(servers):
    sentinel = await sentinel_of(servers, await servers(), "requirepass hunter2")
    url = f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster"
    with pytest.raises(LinkLost, match="uthentication required") as caught:
        await resolve(of(url), timeout_s=5)
    assert "hunter2" not in str(caught.value)
    assert (await resolve(of(f"{url}?sentinel_password=hunter2"), timeout_s=5)).host == "127.0.0.1"


async def test_sentinels_that_know_no_primary_are_all_named(servers):
    sentinel = await sentinel_of(servers, await servers())
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/other"
    with pytest.raises(LinkLost) as caught:
        await resolve(of(url), timeout_s=5)
    assert "127.0.0.1:1: " in caught.value.reason
    assert "refused" in caught.value.reason
    assert f"the Sentinel 127.0.0.1:{sentinel.port} knows no service other" in caught.value.reason


async def test_a_sentinel_that_hangs_is_left_behind(servers):
    primary = await servers()
    hung = await sentinel_of(servers, primary)
    sentinel = await sentinel_of(servers, primary)
    hung.pause()
    url = f"redis+sentinel://127.0.0.1:{hung.port},127.0.0.1:{sentinel.port}/mymaster"
    with anyio.fail_after(4):
        assert (await resolve(of(url), timeout_s=1)).port == primary.port


async def test_giving_up_on_sentinels_does_not_wait_for_their_thread(servers):
    hung = await sentinel_of(servers, await servers())
    hung.pause()
    endpoint = of(f"redis+sentinel://127.0.0.1:{hung.port}/mymaster")
    began = anyio.current_time()
    with anyio.move_on_after(0.2) as scope:
        await resolve(endpoint, timeout_s=1)
    assert scope.cancelled_caught
    assert anyio.current_time() - began < 0.9
    hung.kill()
