"""How far `main` has come: what the heartbeats tell of it, and `why` says."""

import anyio
import pytest

from botvisor.fleet.summary import Sighting, summary
from botvisor.testing import MemoryStore

from .bot_rig import Reader, bot_on, until

pytestmark = pytest.mark.virtual_time


def told(rig):
    return rig.handle.vitals.beat().health["main"]


async def test_nothing_is_told_of_a_main_that_has_had_no_message():
    async with bot_on(MemoryStore(), Reader()) as rig:
        assert told(rig) == {"handled": 0, "moved_s": None, "holds_s": None}


async def test_a_message_in_hand_and_a_message_that_was_handled_are_told():
    main = Reader()
    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        assert told(rig)["handled"] == 0
        assert told(rig)["holds_s"] is not None
        main.go_on.set()
        await until(lambda: told(rig)["handled"] == 1)
        assert told(rig)["holds_s"] is None
        assert told(rig)["moved_s"] is not None


async def test_why_says_for_how_long_a_message_has_been_in_hand():
    main = Reader()
    async with bot_on(MemoryStore(), main) as rig:
        await rig.client.send("bot", "wait")
        await main.handling.wait()
        await anyio.sleep(1)
        beat = rig.handle.vitals.beat()
        main.go_on.set()
    for age_s, said in ((0.0, False), (60.0, True)):
        sighting = Sighting(heartbeat=beat, status="healthy", age_s=age_s, gone=False)
        assert ("had one message in hand for 1m" in summary(sighting)) == said
