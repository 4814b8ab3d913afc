"""Logging in to Redis: passwords, users with few rights, and servers that let nobody in."""

import time

import anyio
import pytest

from botvisor.actors.backend.link import Link
from botvisor.actors.backend.redis_endpoint import Endpoint, Login, Sentinels, endpoint_of
from botvisor.actors.backend.redis_errors import ErrorReply, Kind, LinkLost, diagnose
from botvisor.config.secret import Secret
from botvisor.config.settings import Settings
from botvisor.testing import open_proxy

from . import redis_server

servers = redis_server.servers

VERSIONS = redis_server.versions()
PING = ("PING",)


async def open_link(server, username=None, password=None, **more):
    login = Login(username, Secret(password) if password else None)
    endpoint = Endpoint(host="127.0.0.1", port=server.port, login=login, **more)
    return await Link.open(endpoint, connect_timeout_s=5, name="bot 1 é")


@pytest.mark.parametrize("name", VERSIONS)
async def test_the_right_password_opens_a_link_and_no_other_does(servers, name):
    server = await servers("requirepass hunter2", name=name)
    link = await open_link(server, password="hunter2")
    assert await link.execute([PING]) == [b"PONG"]
    await link.aclose()
    for wrong in ("hunter3", None):
        with pytest.raises(ErrorReply) as caught:
            await open_link(server, password=wrong)
        assert diagnose(caught.value).kind is Kind.DENIED
        assert "hunter" not in str(caught.value)


@pytest.mark.parametrize("name", VERSIONS)
async def test_a_password_for_a_server_that_has_none_is_refused_with_a_remedy(servers, name):
    server = await servers(name=name)
    with pytest.raises(ErrorReply) as caught:
        await open_link(server, password="hunter2")
    assert "take our password away" in diagnose(caught.value).remedy


async def test_a_user_name_on_a_server_without_users_is_refused_with_a_remedy(servers):
    server = await servers("requirepass hunter2", name="redis-5")
    with pytest.raises(ErrorReply) as caught:
        await open_link(server, "bot", "hunter2")
    assert "Redis 6.0" in diagnose(caught.value).remedy


@pytest.mark.parametrize("name", ["redis-6", "valkey-9"])
async def test_a_user_of_the_acl_logs_in_by_name(servers, name):
    server = await servers("user bot on >hunter2 ~* +@all", name=name)
    link = await open_link(server, "bot", "hunter2")
    assert await link.execute([("ACL", "WHOAMI")]) == [b"bot"]
    await link.aclose()


@pytest.mark.parametrize("name", ["redis-6", "valkey-9"])
async def test_a_user_without_a_password_logs_in_by_name_alone(servers, name):
    server = await servers("user bot on nopass ~* +@all", name=name)
    link = await open_link(server, "bot")
    assert await link.execute([("ACL", "WHOAMI")]) == [b"bot"]
    await link.aclose()


@pytest.mark.parametrize("name", ["redis-6", "valkey-9"])
async def test_a_user_who_may_do_little_has_a_link_without_extras(servers, name):
    server = await servers("user bot on >hunter2 ~heartbeat:* +get +set", name=name)
    link = await open_link(server, "bot", "hunter2")
    assert len(link.refused) == 4
    assert {diagnose(error).kind for error in link.refused} == {Kind.DENIED}
    assert (link.fence, link.server.run_id) == (None, "")
    assert abs(link.server_ms() - time.time() * 1000) < 1000
    assert (await link.execute([("SET", "heartbeat:1", "x"), ("SET", "other", "x")]))[0] == b"OK"
    await link.aclose()


async def test_a_fence_that_may_not_be_used_is_told(servers):
    server = await servers("user bot on >hunter2 ~* +@all -client +client|id +client|setname", name="redis-6")
    old = await open_link(server, "bot", "hunter2")
    endpoint = Endpoint(host="127.0.0.1", port=server.port, login=Login("bot", Secret("hunter2")))
    new = await Link.open(endpoint, connect_timeout_s=5, fence=old.fence)
    assert [error.code for error in new.refused] == ["NOPERM"]
    await old.aclose()
    await new.aclose()


async def test_a_changed_password_file_counts_at_the_next_link(servers, tmp_path):
    server = await servers("requirepass old")
    file = tmp_path / "password"
    file.write_text("old\n")
    endpoint = endpoint_of(Settings(redis_url=server.url, redis_password_file=file))
    link = await Link.open(endpoint, connect_timeout_s=5)
    await link.execute([("CONFIG", "SET", "requirepass", "new")])
    await link.aclose()
    with pytest.raises(ErrorReply, match=r"WRONGPASS|invalid password"):
        await Link.open(endpoint, connect_timeout_s=5)
    file.write_text("new\n")
    await (await Link.open(endpoint, connect_timeout_s=5)).aclose()


async def test_a_server_with_too_many_clients_says_so(servers):
    server = await servers("maxclients 3")
    links = []

    async def crowd():
        for _ in range(4):
            links.extend([await open_link(server)])

    # The server hangs up right after its answer, which may get lost then.
    with pytest.raises((ErrorReply, LinkLost)) as caught:
        await crowd()
    assert diagnose(caught.value).kind in (Kind.NOT_READY, Kind.UNREACHABLE)
    for link in links:
        await link.aclose()


def variables(error):
    """Return every variable that a logger could show with an error."""
    shown = []
    for each in (error, error.__cause__, error.__context__):
        traceback = each and each.__traceback__
        while traceback is not None:
            if "/actors/" in traceback.tb_frame.f_code.co_filename:
                shown.append(repr(traceback.tb_frame.f_locals))
            traceback = traceback.tb_next
    return shown


@pytest.mark.parametrize("how", ["wrong", "cut", "silent", "sentinels"])
async def test_an_error_carries_the_password_in_no_variable(servers, how):
    server = await servers("requirepass hunter3")
    async with open_proxy(server.port) as between:
        login = Login("default", Secret("hunter2"))
        endpoint = Endpoint(host="127.0.0.1", port=between.port, login=login)
        if how == "sentinels":
            hosts = (("127.0.0.1", server.port),)
            endpoint = Endpoint(sentinels=Sentinels(hosts, "mymaster", login), login=login)
        if how != "wrong":
            between.blackhole()
        async with anyio.create_task_group() as group:
            if how == "cut":
                group.start_soon(cut_soon, between)
            with pytest.raises((ErrorReply, LinkLost, TimeoutError)) as caught:
                await Link.open(endpoint, connect_timeout_s=0.3)
    assert variables(caught.value)
    assert "hunter2" not in f"{caught.value!r} {variables(caught.value)}"


async def cut_soon(between):
    await anyio.sleep(0.1)
    between.reset()


async def test_a_link_is_known_by_its_name(servers):
    link = await open_link(await servers())
    (clients,) = await link.execute([("CLIENT", "LIST")])
    assert b" name=bot_1__ " in clients
    await link.aclose()


async def test_a_link_behind_sentinels_is_one_to_the_primary(servers):
    primary = await servers("requirepass hunter2")
    sentinel = await servers(
        f"sentinel monitor mymaster 127.0.0.1 {primary.port} 1",
        "sentinel auth-pass mymaster hunter2",
        sentinel=True,
    )
    url = f"redis+sentinel://:hunter2@127.0.0.1:{sentinel.port}/mymaster/4"
    link = await Link.open(endpoint_of(Settings(redis_url=url)), connect_timeout_s=5)
    assert link.address == f"127.0.0.1:{primary.port}"
    assert await link.execute([PING]) == [b"PONG"]
    await link.aclose()
