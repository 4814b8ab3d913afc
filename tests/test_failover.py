"""Fail-over: what callers get, how soon, and what the log says, whatever befalls Redis."""

import time

import anyio

from botvisor.actors.backend.redis_endpoint import Login
from botvisor.config.secret import Secret
from botvisor.errors import StoreAway, StoreUnavailable
from botvisor.store import (
    AcquireLease,
    Done,
    ListMessages,
    NextMessage,
    ReadHeartbeat,
    ReadIdentity,
    ReadReceipt,
    Sweep,
)

from . import failover_rig, redis_server, two_loops
from .failover_rig import (
    LANE,
    LIST,
    LOOK,
    ONE,
    QUEUE,
    ROOM,
    RedisQueue,
    beat,
    identity,
    of_level,
    push,
    running,
)

rigs = failover_rig.rigs
lines = failover_rig.lines
servers = redis_server.servers
probed_soon = failover_rig.probed_soon
anyio_backend = two_loops.anyio_backend


async def test_everything_goes_to_redis_while_it_answers(servers, rigs):
    rig = rigs(await servers())
    assert await rig.run(beat(), identity()) == [None, None]
    assert await rig.run(push()) == ["redis"]
    assert rig.client().llen(LIST) == 1
    assert rig.spooled() == []
    assert rig.mode == "redis"


async def test_a_killed_server_is_left_within_the_call(servers, rigs, lines):
    server = await servers()
    rig = rigs(server)
    await rig.run(LOOK)
    server.kill()
    where, *rest = await rig.run(push(), beat(), identity(), ReadIdentity(ROOM, "ann"))
    assert where.where.startswith("spool@")
    assert [*rest[:2], rest[2].participant_id] == [None, None, "ann"]
    assert rig.mode == "file"
    infos = of_level(lines, "INFO")
    assert infos == ["[redis-client] Ping failed: Connection refused - falling back to files"]
    assert rig.log.backend == "file"


async def test_a_retry_is_a_warning(servers, rigs, lines):
    server = await servers()
    rig = rigs(server)
    await rig.run(LOOK)
    server.kill()
    await rig.run(push())
    warnings = of_level(lines, "WARNING")
    assert warnings
    assert all("again" in text for text in warnings)
    assert rig.store.state()["retries"] == len(warnings)


async def test_a_cut_link_is_invisible_to_callers(servers, rigs, lines):
    rig = rigs(await servers())
    await rig.run(LOOK)
    rig.client().client_kill_filter(_type="normal", skipme=True)
    assert await rig.run(push()) == ["redis"]
    assert rig.mode == "redis"
    assert of_level(lines, "INFO") == []


async def test_a_hanging_server_is_left_within_three_seconds(servers, rigs, lines):
    server = await servers()
    rig = rigs(server)
    await rig.run(LOOK)
    server.pause()
    began = time.monotonic()
    (where,) = await rig.run(push())
    took_s = time.monotonic() - began
    assert where.where.startswith("spool@")
    assert 1.4 < took_s < 3
    assert rig.mode == "file"
    assert of_level(lines, "INFO") == [
        "[redis-client] Ping failed: no answer for 1.5 s - falling back to files"
    ]


async def test_once_it_is_left_nobody_waits_for_it(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.pause()
    await rig.lose()
    began = time.monotonic()
    for _ in range(10):
        await rig.run(push(), beat(), identity(), ReadHeartbeat("4711"))
    assert time.monotonic() - began < 1


async def test_a_server_that_is_away_at_the_start(servers, rigs):
    server = await servers()
    server.kill()
    rig = rigs(server)
    (where,) = await rig.run(push())
    assert where.where.startswith("spool@")
    assert rig.mode == "file"


async def test_it_returns_and_says_so_once(servers, rigs, lines, probed_soon):
    server = await servers()
    rig = rigs(server)
    async with running(rig):
        server.kill()
        await rig.lose()
        for _ in range(3):
            await rig.run(push(), beat())
        await server.start()
        await rig.until("redis")
        assert await rig.run(push("later")) == ["redis"]
    infos = [text for text in of_level(lines, "INFO") if "Ping" in text]
    assert len(infos) == 2
    assert infos[1].startswith("[redis-client] Ping answered after ")
    assert rig.log.backend == "redis"


async def test_a_hanging_server_that_goes_on_is_used_again(servers, rigs, probed_soon):
    server = await servers()
    rig = rigs(server)
    async with running(rig):
        server.pause()
        await rig.run(beat())
        assert rig.mode == "file"
        server.resume()
        await rig.until("redis")
        assert await rig.run(push()) == ["redis"]


async def test_a_wrong_password_is_one_error_that_says_what_to_fix(servers, rigs, lines):
    server = await servers("requirepass right")
    rig = rigs(server, login=Login(password=Secret("wrong")))
    for _ in range(5):
        (where,) = await rig.run(push())
        assert where.where.startswith("spool@")
    (error,) = of_level(lines, "ERROR")
    assert "REDIS_SHARED_SECRET" in error
    assert "wrong" not in error.lower().replace("wrongpass", "")
    assert await rig.store.tend() > 10  # no storm of probes
    assert len(of_level(lines, "INFO")) == 1


async def test_a_replica_is_left_and_its_ping_does_not_bring_it_back(servers, rigs, lines, probed_soon):
    server = await servers()
    rig = rigs(server)
    await rig.run(beat())
    rig.client().replicaof("127.0.0.1", redis_server.free_port())
    (where,) = await rig.run(push())
    assert where.where.startswith("spool@")
    assert rig.mode == "file"
    await anyio.sleep(await rig.store.tend())
    await rig.store.tend()
    assert rig.mode == "file"
    rig.client().replicaof("NO", "ONE")
    await rig.back()
    assert of_level(lines, "ERROR")[0].count("primary") == 1
    assert len(of_level(lines, "ERROR")) == 1


async def test_a_full_server_sends_messages_to_the_files_and_still_hands_out(servers, rigs, lines):
    rig = rigs(await servers())
    assert await rig.run(push("first"), AcquireLease(QUEUE, ONE)) == ["redis", None]
    rig.client().config_set("maxmemory", 1)
    for number in range(3):
        (where,) = await rig.run(push(f"m{number}"))
        assert where.where.startswith("spool@")
        await rig.run(LOOK)  # a success in between makes no second error
    (claim,) = await rig.run(NextMessage(QUEUE, "one", "a"))
    assert claim.source == "redis"
    assert rig.mode == "redis"
    assert len(of_level(lines, "ERROR")) == 1
    assert "maxmemory" in of_level(lines, "ERROR")[0]


async def test_without_files_what_needs_redis_fails_at_once(servers, rigs, lines, probed_soon):
    server = await servers()
    rig = rigs(server, files=False)
    assert await rig.run(Sweep(), ReadReceipt(QUEUE, "m")) == [0, "unknown"]
    server.kill()
    await rig.lose()
    began = time.monotonic()
    answers = await rig.run(push(), beat(), identity(), Sweep(), ReadReceipt(QUEUE, "m"))
    assert time.monotonic() - began < 0.1
    assert [type(answer) for answer in answers] == [StoreAway] * 5
    assert "without files" in of_level(lines, "INFO")[0]
    await server.start()
    await rig.back()
    assert await rig.run(push()) == ["redis"]


async def test_a_receipt_is_looked_for_in_both_stores(servers, rigs):
    server = await servers()
    rig = rigs(server)
    await rig.run(beat())
    await rig.run(push("on-redis"))
    await rig.files.execute([push("on-files")])
    looks = [ReadReceipt(QUEUE, name) for name in ("on-redis", "on-files", "nowhere")]
    assert await rig.run(*looks) == ["stored", "stored", "unknown"]
    (held,) = await rig.run(ListMessages(QUEUE))
    assert len(held) == 2
    server.kill()
    await rig.lose()
    there, here, nowhere = await rig.run(*looks)
    assert here == "stored"
    assert [type(answer) for answer in (there, nowhere)] == [StoreAway] * 2


async def test_a_queue_of_redis_alone_is_refused_at_once_while_redis_is_away(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.kill()
    await rig.lose()
    began = time.monotonic()
    answers = await rig.run(AcquireLease(LANE, ONE), NextMessage(LANE, "one", "a"), push("m", LANE))
    assert time.monotonic() - began < 0.1
    assert [type(answer) for answer in answers] == [StoreAway] * 3
    assert rig.spooled() == []


async def test_a_full_server_that_was_away_is_used_again(servers, rigs, probed_soon):
    server = await servers("maxmemory 1")
    rig = rigs(server)
    server.kill()
    await rig.run(beat())
    await server.start()
    await rig.back()
    assert await rig.run(LOOK) == [None]


async def test_the_queues_of_both_stores_are_served_in_one_batch(servers, rigs):
    server = await servers()
    rig = rigs(server)
    here = RedisQueue("bot", "4711", "file")
    await rig.run(push("there", LANE), push("here", here))
    commands = [AcquireLease(LANE, ONE), AcquireLease(here, ONE)]
    assert await rig.run(*commands) == [None, None]
    there, spooled = await rig.run(NextMessage(LANE, "one", "a"), NextMessage(here, "one", "a"))
    assert (there.source, spooled.source) == ("redis", "file")
    server.kill()
    done = Done(spooled.token, "here")
    answers = await rig.run(NextMessage(LANE, "one", "a"), NextMessage(here, "one", "a", done))
    assert isinstance(answers[0], StoreUnavailable)
    assert answers[1] is None


async def test_both_stores_down_is_an_error(servers, rigs):
    server = await servers()
    rig = rigs(server)
    server.kill()
    rig.admin.write_text("no directory")
    (answer,) = await rig.run(push())
    assert isinstance(answer, Exception)


async def test_the_state_tells_what_happened(servers, rigs):
    server = await servers()
    rig = rigs(server)
    await rig.run(beat())
    state = rig.store.state()
    assert (state["mode"], state["fallbacks"], state["kept"]) == ("redis", 0, 0)
    assert state["redis"]["operations"] == {"WriteHeartbeat": 1}
    assert 0 < state["redis"]["p50_ms"] <= state["redis"]["p99_ms"]
    assert state["file"]["operations"] == {}
    server.kill()
    await rig.run(beat())
    state = rig.store.state()
    assert (state["mode"], state["fallbacks"], state["kept"]) == ("file", 1, 1)
    assert state["redis"]["errors"] == {"WriteHeartbeat": state["redis"]["operations"]["WriteHeartbeat"] - 1}
    assert state["file"]["operations"] == {"WriteHeartbeat": 1}
    assert state["since_s"] < 5
