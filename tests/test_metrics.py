"""Metrics: what Prometheus reads of a process with bots, and what docs/deploy/README.md says of it."""

import os
import re
import resource
from pathlib import Path

import anyio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from botvisor import Policy
from botvisor.metrics import Metrics
from botvisor.testing import crash, fake_bot
from botvisor.usage import read_usage

from . import redis_bots, redis_server
from .redis_bots import process

servers = redis_server.servers
place = redis_bots.place

DOCUMENT = (Path(__file__).parents[1] / "docs" / "deploy" / "README.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]*)\| (\w+) \|", re.M)
pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])


async def serve(bot):
    async for _ in bot.inbox:
        pass


async def families(supervisor):
    """The metrics by their names, as Prometheus would read them."""
    text, content_type = await Metrics(supervisor.core, supervisor._health, supervisor._handles).render()
    assert content_type.startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


def values(family):
    """The values of a family's samples, by the values of their labels."""
    return {tuple(sample.labels.values()): sample.value for sample in family.samples}


async def test_they_are_those_that_are_documented(place):
    async with process(place.settings()) as fleet:
        await fleet.start()
        async with anyio.create_task_group() as group:
            group.start_soon(fleet.client.send, "ada", "hello")
        place.server.kill()
        await fleet.until_on("file")
        await fleet.client.send("ada", "hello")
        found = await families(fleet.supervisor)
    documented = {name.removesuffix("_total"): (labels, kind) for name, labels, kind in ROW.findall(DOCUMENT)}
    assert found.keys() == documented.keys()
    for name, family in found.items():
        labels, kind = documented[name]
        assert (name, family.type) == (name, kind)
        names = {sample.name for sample in family.samples}
        assert names <= {f"{name}_total" if kind == "counter" else name}
        for sample in family.samples:
            assert set(sample.labels) == set(re.findall(r"`(\w+)`", labels)), name


async def test_they_tell_of_both_backends(place):
    async with process(place.settings()) as fleet:
        bot = await fleet.start()
        await fleet.client.send("ada", "hello", wait=5)
        place.server.kill()
        await fleet.until_on("file")
        await fleet.client.send("ada", "hello")
        found = await families(fleet.supervisor)
        health = bot.vitals.figures()
    assert values(found["botvisor_backend_mode"]) == {("file",): 1}
    operations = values(found["botvisor_backend_operations"])
    assert operations["redis", "PushMessage"] >= 1
    assert operations["file", "PushMessage"] == 1
    errors = values(found["botvisor_backend_errors"])
    assert sum(count for (backend, _), count in errors.items() if backend == "redis") >= 1
    assert values(found["botvisor_backend_fallbacks"])[("redis",)] >= 1
    assert values(found["botvisor_kept_commands"]).keys() == {()}
    durations = values(found["botvisor_backend_batch_duration_seconds"])
    assert set(durations) == {(name, q) for name in ("redis", "file") for q in ("0.5", "0.99")}
    assert 0 < durations["redis", "0.5"] <= durations["redis", "0.99"] < 5
    # What the heartbeats tell is the same.
    assert health["store"]["file"]["operations"]["PushMessage"] == 1
    assert health["store"]["redis"]["fallbacks"] == health["store"]["fallbacks"]


async def test_they_tell_of_each_bot():
    async with fake_bot(serve, bot_id="ada", policy=Policy(base=0.01)) as bot:
        await bot.supervisor.start_bot(serve, bot_id="bob")
        await bot.send("hello", wait=5)
        await bot.client.send("ada", "again", wait=5)
        crash(bot.bot, "identity")
        with anyio.fail_after(5):
            while not bot.supervisor.core.ledger.restarts("ada/") or bot.bot.status != "healthy":
                await anyio.sleep(0.01)
        found = await families(bot.supervisor)
    assert values(found["botvisor_bot_status"]) == {("ada", "healthy"): 1, ("bob", "healthy"): 1}
    assert values(found["botvisor_messages_handled"]) == {("ada",): 2, ("bob",): 0}
    restarts = {(s.labels["bot"], s.labels["actor"]): s.value for s in found["botvisor_restarts"].samples}
    assert (restarts["ada", "identity"], restarts["ada", "inbox"], restarts["", "backend"]) == (1, 0, 0)
    depths = {(s.labels["bot"], s.labels["actor"]) for s in found["botvisor_mailbox_depth"].samples}
    assert depths == {("", "backend")} | {
        (bot_id, kind) for bot_id in ("ada", "bob") for kind in ("identity", "heartbeat", "inbox")
    }


async def test_they_can_be_read_without_a_bot():
    async with fake_bot(serve) as bot:
        await bot.stop()
        found = await families(bot.supervisor)
    assert values(found["botvisor_bot_status"]) == {}
    assert values(found["botvisor_backend_mode"]) == {("memory",): 1}


async def test_the_processes_own_are_what_the_kernel_says():
    usage, counted = read_usage(), resource.getrusage(resource.RUSAGE_SELF)
    assert 0 < usage.user_s <= counted.ru_utime
    assert 0 < usage.system_s <= counted.ru_stime
    assert 10_000_000 < usage.memory_bytes < usage.virtual_bytes
    assert usage.threads >= 1
    with open(os.devnull):  # noqa: ASYNC230, PTH123
        assert read_usage().descriptors == usage.descriptors + 1
    assert 0 < usage.uptime_s < 86_400
