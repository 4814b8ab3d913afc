"""Clocks that are set a day ahead or back, before a bot starts and while it runs."""

import json

import anyio
import pytest

from ..processes import Program
from .host import ends, says, shown
from .host import host as host
from .host import servers as servers
from .set_clock import SetClock

DAY_S = 86_400
QUICK = {"BOT_HEARTBEAT_INTERVAL_SECS": "0.2"}


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def clock(tmp_path):
    return SetClock(tmp_path)


async def until_healthy(host, env, *bot_ids):
    """Wait until an observer sees these bots alive and well.

    On files it shares the bots' clock, as all of a host do; those of a fleet on Redis are each on their own.
    """
    env = host.variables() if host.place else env
    with anyio.fail_after(10):
        while True:
            ps = Program(["-m", "botvisor", "ps", "--json"], host.folder, **env)
            assert await ends(ps) == 0
            found = {row["bot_id"]: row["status"] for row in json.loads("".join(ps.out))}
            ps.close()
            if found == dict.fromkeys(bot_ids, "healthy"):
                return


@pytest.mark.parametrize("ahead_s", [DAY_S, -DAY_S], ids=["ahead", "back"])
async def test_a_clock_that_is_set_a_day_loses_no_message_and_no_bot(host, clock, ahead_s):
    env = {**QUICK, **clock.variables}
    bea = await host.bot("bea", room_url="", **env)
    async with host.client() as fleet:
        await fleet.client.send("ada", "waits")
        clock.set(ahead_s)
        await until_healthy(host, env, "bea")
        ada = await host.bot("ada", room_url="", **env)
        await says(ada, "got waits")
        clock.set(-ahead_s)
        for bot_id in ("ada", "bea"):
            assert (await fleet.client.send(bot_id, "last", wait=10)).state == "handled"
        for bot in (ada, bea):
            await says(bot, "got last")
        await until_healthy(host, env, "ada", "bea")
    assert shown(ada) == [("waits", 1, False), ("last", 1, False)]
    assert shown(bea) == [("last", 1, False)]
    assert [line for line in [*ada.err, *bea.err] if "WARNING" in line or "ERROR" in line] == []
