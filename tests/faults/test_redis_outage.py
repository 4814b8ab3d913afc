"""Bots while Redis is dead, hangs or cannot be reached: what `main` sees, and how soon callers know."""

from contextlib import asynccontextmanager

import anyio
import pytest

from botvisor.errors import NotStored, StoreUnavailable
from botvisor.testing import open_proxy

from .. import redis_bots, redis_server
from ..bot_rig import logged, until
from ..redis_bots import BACK, LOST, ROOM, process, takes_at_most, until_seen

servers = redis_server.servers
place, kept = redis_bots.place, redis_bots.kept


FIRST_S = 3.0  # until it is known that Redis hangs
KNOWN_S = 0.5  # and from then on


@pytest.fixture
def anyio_backend():
    return "asyncio"


def said(lines):
    """The lines that are neither about single heartbeats nor about single messages."""
    usual = ("Sent heartbeat", "Sent admin message", "Stored identity", "] Bot ada ended")
    return [line for line in lines if not any(text in line for text in usual)]


def assert_one_outage(lines, reason, *, then="falling back to files"):
    """Nothing was said but that Redis went and came back, and what was tried again."""
    lost, *others = [line for line in said(lines) if not line.startswith("WARNING [redis-client] Trying ")]
    assert lost == f"INFO [redis-client] Ping failed: {reason} - {then}"
    forwarded = [line for line in others if "INFO" in line and "] Forwarded" in line]
    (back,) = [line for line in others if line not in forwarded]
    assert back.startswith(f"INFO [redis-client{BACK}"), back
    assert len([line for line in lines if "Trying" in line]) <= 5


async def use(fleet, bot, text):
    """Call everything that a bot's author and an operator can call."""
    await bot.bot.identities.write("ann", {"name": text})
    assert (await bot.bot.identities.read("ann"))["name"] == text
    assert [each["name"] for each in await bot.bot.identities.list()] == [text]
    assert await bot.bot.identities.read("nobody") is None
    receipt = await fleet.client.send("ada", text, wait=5)
    await fleet.client.messages("ada")
    assert (await fleet.client.receipt(receipt)).state == "handled"
    bot.bot.participants.add(text)
    await fleet.client.heartbeat("ada")
    await fleet.client.heartbeats()
    return receipt


@asynccontextmanager
async def running(place, **more):
    """Run ada. Yields the process and ada; she is in use, and she is again before she ends."""
    async with process(place.settings(**more)) as fleet:
        bot = await fleet.start()
        await use(fleet, bot, "before")
        yield fleet, bot
        await fleet.until_on("redis")
        before = bot.reader.texts
        await use(fleet, bot, "after")
        seen = await until_seen(bot, *before, "after")
        assert not any(message.redelivered for message in seen)


async def test_a_bot_goes_on_over_files_while_redis_is_dead_and_loses_nothing(kept):
    with logged() as lines:
        async with running(kept) as (fleet, bot):
            kept.server.kill()
            async with takes_at_most(FIRST_S):
                assert (await use(fleet, bot, "finds out")).where.startswith("spool@")
            assert fleet.mode == "file"
            async with takes_at_most(KNOWN_S):
                await use(fleet, bot, "knows")
            beat = await fleet.client.heartbeat("ada")
            assert (beat.status, beat.health["backend"]) == ("degraded", "file")
            await kept.server.start()
            await fleet.until_on("redis")
            # What was written meanwhile is there, for others too.
            assert b"knows" in kept.redis.hget(f"identity:{ROOM}:ann", "data")
            assert b"knows" in kept.redis.hget("heartbeat:ada", "participants")
    assert_one_outage(lines, "Connection refused")


async def test_a_server_that_comes_back_empty_is_told_everything_anew(place):
    with logged() as lines:
        async with running(place) as (fleet, bot):
            receipt = await fleet.client.send("ada", "wait")
            await bot.reader.handling.wait()
            place.server.kill()
            await fleet.until_on("file")
            bot.reader.go_on.set()  # while nobody can be told
            await fleet.client.send("ada", "next", wait=5)
            await place.server.start()
            await fleet.until_on("redis")
            assert (await fleet.client.receipt(receipt)).state == "handled"
            assert place.redis.exists(
                "heartbeat:ada", f"identity:{ROOM}:ann", "admin:owner:{admin:queue:ada}"
            )
            place.send("ada", id=receipt.id, message="wait")  # its sender did not know
    assert_one_outage(lines, "Connection refused")


@pytest.mark.parametrize("way", ["stopped", "black hole"])
async def test_a_redis_that_hangs_is_left_within_three_seconds_and_nothing_is_shown_twice(place, way):
    with logged() as lines:
        async with (
            open_proxy(place.server.port) as between,
            running(place, port=between.port) as (fleet, bot),
        ):
            hang, go_on = (
                (place.server.pause, place.server.resume)
                if way == "stopped"
                else (between.blackhole, between.pass_on)
            )
            hang()
            async with takes_at_most(FIRST_S), anyio.create_task_group() as group:
                for call in (
                    fleet.client.send("ada", "finds out"),
                    bot.bot.identities.write("ann", {"name": "hung"}),
                    bot.bot.identities.list(),
                    fleet.client.heartbeats(),
                    fleet.client.heartbeat("ada"),
                    fleet.client.messages("ada"),
                ):
                    group.start_soon(finish, call)
            async with takes_at_most(FIRST_S):
                await until(lambda: "finds out" in bot.reader.texts)
            async with takes_at_most(KNOWN_S):
                await use(fleet, bot, "knows")
            go_on()
            await fleet.until_on("redis")
            assert bot.reader.texts == ["before", "finds out", "knows"]
    assert_one_outage(lines, "no answer for 1.5 s")


async def finish(call):
    await call


async def test_without_files_callers_are_told_at_once_and_the_bot_lives_on(place):
    with logged() as lines:
        async with running(place, file_fallback=False) as (fleet, bot):
            place.server.kill()
            await fleet.until_on("none")
            async with takes_at_most(KNOWN_S):
                with pytest.raises(NotStored, match="Redis is away"):
                    await fleet.client.send("ada", "lost")
                with pytest.raises(StoreUnavailable, match="Redis is away"):
                    await bot.bot.identities.write("ann", {})
                with pytest.raises(StoreUnavailable, match="Redis is away"):
                    await fleet.client.heartbeats()
            bot.bot.participants.add("meanwhile")
            await place.server.start()
            await fleet.until_on("redis")
            await until(lambda: b"meanwhile" in (place.redis.hget("heartbeat:ada", "participants") or b""))
        assert list(place.folder.iterdir()) == []
    errors = [line for line in lines if line.startswith("ERROR")]
    assert len(errors) == 1  # the caller's own
    assert "Could not send an admin message to bot ada: Redis is away" in errors[0]
    assert_one_outage(
        [line for line in lines if line not in errors],
        "Connection refused",
        then="waiting for it, without files",
    )


async def test_connections_that_are_cut_are_invisible_to_callers(place):
    with logged() as lines:
        async with running(place) as (fleet, bot):
            for kind in ("normal", "pubsub"):
                place.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                async with takes_at_most(FIRST_S):
                    await use(fleet, bot, f"after killing {kind}")
            assert fleet.mode == "redis"
    assert [line for line in said(lines) if LOST in line or line.startswith("ERROR")] == []


@pytest.mark.parametrize("hangs", [False, True], ids=["dead", "hanging"])
async def test_a_bot_that_starts_while_redis_is_away_runs_soon_and_serves_it_later(kept, hangs):
    kept.send("ada", id="early", message="waits on Redis")
    with logged() as lines:
        (kept.server.pause if hangs else kept.server.kill)()
        async with process(kept.settings()) as fleet:
            async with takes_at_most(FIRST_S):
                bot = await fleet.start()
            async with takes_at_most(KNOWN_S):
                await fleet.client.send(ROOM, "over files", wait=5)
            assert bot.reader.texts == ["over files"]
            if hangs:
                kept.server.resume()
            else:
                await kept.server.start()
            await fleet.until_on("redis")
            seen = await until_seen(bot, "over files", "waits on Redis")
            assert [message.source for message in seen] == ["file", "redis"]
    assert_one_outage(lines, "no answer for 1.5 s" if hangs else "Connection refused")
