"""The figures that heartbeats tell operators."""

import contextlib

import anyio
import pytest

from botvisor.errors import StoreError
from botvisor.testing import crash, fake_bot

pytestmark = pytest.mark.virtual_time


async def idle(bot):
    await bot.wait_stopping()


async def read(bot, participant_id):
    with contextlib.suppress(StoreError):
        await bot.identities.read(participant_id)


async def test_it_tells_what_waits_in_mailboxes_and_for_how_long():
    async with fake_bot(idle) as bot, anyio.create_task_group() as group:
        bot.store.hang()
        for number in range(4):
            group.start_soon(read, bot.bot, f"user{number}")
            await anyio.sleep(0.01)
        await anyio.sleep(0.5)
        health = bot.handle.vitals.beat().health
        assert health["mailboxes"]["identity"] == 3
        assert 0.5 <= health["oldest_message_s"] < 1
        bot.store.heal()


async def test_empty_mailboxes_are_left_out():
    async with fake_bot(idle) as bot:
        await anyio.sleep(1)
        health = bot.handle.vitals.beat().health
        assert health["mailboxes"] == {}
        assert health["oldest_message_s"] == 0


async def test_an_actor_at_rest_makes_the_bot_degraded():
    async with fake_bot(idle) as bot:
        for _ in range(6):
            crash(bot.bot, "identity")
            await anyio.sleep(3)
        heartbeat = bot.handle.vitals.beat()
        assert heartbeat.status == "degraded"
        assert [name.rpartition("/")[2] for name in heartbeat.health["resting"]] == ["identity"]
        assert heartbeat.health["restarts"] == 5
        await anyio.sleep(60)
        assert bot.handle.vitals.beat().status == "healthy"


async def test_it_tells_for_a_while_where_the_bots_tasks_stand_if_somebody_asks():
    async def waits_here(bot):
        await bot.wait_stopping()

    async with fake_bot(waits_here) as bot:
        await bot.client.control(bot.handle.id, "stack")
        with anyio.fail_after(5):
            while "stack" not in (heartbeat := await bot.heartbeat()).health:
                await anyio.sleep(0.01)
        stack = heartbeat.health["stack"]
        assert "waits_here" in stack[f"{bot.handle.id}/main"]
        assert set(stack) == {
            f"{bot.handle.id}/{kind}" for kind in ("identity", "heartbeat", "inbox", "main")
        }
        await anyio.sleep(30)
        assert "stack" not in (await bot.heartbeat()).health
