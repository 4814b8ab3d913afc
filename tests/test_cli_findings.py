"""What `botvisor doctor` makes of facts, without any server."""

import shlex

import pytest

from botvisor import Settings
from botvisor.cli import bot_keys, findings
from botvisor.store import Queue

INFO = {
    "role": "master", "aof_enabled": "1", "used_memory": "1048576", "maxmemory": "0",
    "mem_fragmentation_ratio": "1.1", "connected_clients": "3", "maxclients": "100",
    "uptime_in_seconds": "100", "used_cpu_sys": "1", "used_cpu_user": "1", "evicted_keys": "0",
}  # fmt: skip
FACTS = {
    "kind": "redis", "version": "7.2.1", "mode": "standalone", "address": "h:1", "info": INFO,
    "policy": "noeviction", "user": "default", "latency_ms": 0.2, "latency_worst_ms": 0.4, "skew_s": 0.01,
    "forbidden": {},
}  # fmt: skip


def found(*, encrypted=True, authenticated=True, local=False, info=None, **facts):
    given = {**FACTS, **facts, "info": {**INFO, **(info or {})}}
    every = findings.of_redis(given, encrypted=encrypted, authenticated=authenticated, local=local)
    return {each.topic: each for each in every}


def test_a_sound_server_is_ok_in_every_respect():
    every = found()
    assert {each.level for each in every.values()} == {"ok"}
    assert set(every) == {
        "server", "eviction", "persistence", "memory", "fragmentation", "cpu", "latency", "clients", "acl",
        "password", "tls", "clock",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "level", "facts"),
    [
        ("server", "problem", {"version": "4.0.1"}),
        ("server", "problem", {"info": {"role": "slave"}}),
        ("eviction", "problem", {"policy": "allkeys-lru"}),
        ("eviction", "warning", {"policy": None}),
        ("persistence", "warning", {"info": {"aof_enabled": "0"}}),
        ("persistence", "problem", {"info": {"rdb_last_bgsave_status": "err"}}),
        ("memory", "warning", {"info": {"used_memory": "85", "maxmemory": "100"}}),
        ("memory", "problem", {"info": {"used_memory": "97", "maxmemory": "100"}}),
        ("fragmentation", "warning", {"info": {"used_memory": "2e8", "mem_fragmentation_ratio": "2.5"}}),
        ("cpu", "warning", {"info": {"used_cpu_user": "90"}}),
        ("latency", "warning", {"latency_ms": 20.0}),
        ("clients", "warning", {"info": {"connected_clients": "90"}}),
        ("acl", "problem", {"forbidden": {"write queues": "add to the ACL: +expire"}}),
        ("password", "warning", {"authenticated": False}),
        ("tls", "warning", {"encrypted": False}),
        ("clock", "warning", {"skew_s": -3.0}),
        ("clock", "problem", {"skew_s": 60.0}),
    ],
)
def test_each_fault_is_told_with_its_remedy(topic, level, facts):
    every = found(**facts)
    assert every.pop(topic).level == level
    assert {each.level for each in every.values()} == {"ok"}
    assert found(**facts)[topic].remedy


def test_a_cluster_is_told_to_be_one_and_blamed_for_nothing():
    every = found(mode="cluster")
    assert {each.level for each in every.values()} == {"ok"}
    assert "a cluster: what follows is of one of its nodes" in every["server"].text


def test_on_this_host_neither_password_nor_tls_is_missed():
    every = found(encrypted=False, authenticated=False, local=True)
    assert {each.level for each in every.values()} == {"ok"}


def test_a_server_that_tells_nothing_is_not_blamed_for_it():
    facts = {**FACTS, "info": {}, "policy": None, "skew_s": None, "user": None}
    every = list(findings.of_redis(facts, encrypted=True, authenticated=True, local=False))
    assert {each.topic: each.level for each in every if each.level != "ok"} == {
        "eviction": "warning",
        "clock": "warning",
    }


@pytest.mark.parametrize(
    ("fields", "level"),
    [
        ({}, "ok"),
        ({"exists": False, "mode": None}, "ok"),
        ({"mode": "0755"}, "warning"),
        ({"free_mb": 5.0}, "warning"),
        ({"problem": "is a symbolic link", "remedy": "remove it"}, "problem"),
    ],
)
def test_directories(fields, level):
    sound = {
        "variable": "V", "path": "/p", "exists": True, "mode": "0700", "uid": 0, "problem": "", "remedy": "",
        "free_mb": 1000.0,
    }  # fmt: skip
    (one,) = findings.of_directories({"directories": [{**sound, **fields}]})
    assert (one.level, bool(one.remedy)) == (level, level != "ok")


def test_the_commands_that_show_a_bot_are_safe_in_a_shell():
    room = "https://x/'; rm -rf ~ {a}"
    queues = [Queue("bot", "ada", "redis"), Queue("bot", "ada", "file"), Queue("pre-spawn", room)]
    program = bot_keys.redis_cli(host="::1", port=1, path=None, db=2, tls=True, user="bot")
    looks = list(bot_keys.on_redis(program, "ada", room, queues))
    words = [shlex.split(look.command) for look in looks]
    assert all(each[:9] == shlex.split("redis-cli -h ::1 -p 1 -n 2 --tls --user bot")[:9] for each in words)
    assert (
        "admin:proc:{admin:queue:ada}"
        in words[[look.shows for look in looks].index("what is in flight for bot ada")]
    )
    assert any(each[-3] == f"admin:queue:pre-spawn:{room}" for each in words)
    assert len({look.command for look in looks}) == len(looks)
    files = list(bot_keys.in_files(Settings(), "a:b"))
    assert any("admin-a%3Ab-" in look.command for look in files)


def test_redis_cli_follows_a_cluster_to_the_node_that_has_a_key():
    program = bot_keys.redis_cli(host="one", port=1, path=None, db=0, tls=False, user=None, cluster=True)
    assert program == "redis-cli -h one -p 1 -c"
