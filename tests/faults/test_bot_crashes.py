"""Bots that are killed, actors that fail: what was in hand is shown again, marked, three times at most."""

import contextlib
import itertools
import signal

import anyio
import pytest

from botvisor import Policy
from botvisor.errors import NotStored
from botvisor.testing import crash

from .. import cli_rig
from ..bot_rig import ROOM, Reader, until
from .host import MAIN, answer, ends, says, shown
from .host import host as host
from .host import servers as servers

command = cli_rig.command
ACTORS = ("inbox", "identity", "heartbeat", "backend")


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_what_a_killed_bot_had_claimed_comes_to_its_successor_marked(host):
    first = await host.bot("ada")
    async with host.client() as fleet:
        await fleet.client.send("ada", "done", wait=10)
        in_hand = await fleet.client.send("ada", "hold")
        claimed = await fleet.client.send(ROOM, "claimed")  # and not shown: main has the other one in hand
        await says(first, "got hold")
        for receipt in (in_hand, claimed):
            with anyio.fail_after(10):
                while (await fleet.client.receipt(receipt)).state != "delivered":
                    await anyio.sleep(0.02)
        first.close()
        host.go_on()
        second = await host.bot("ada")
        receipt = await fleet.client.send("ada", "last", wait=15)
        assert receipt.state == "handled"
        for text in ("claimed", "hold", "last"):
            await says(second, f"got {text}")
        assert (await fleet.client.receipt(in_hand)).state == "handled"
    assert shown(first) == [("done", 1, False), ("hold", 1, False)]
    assert sorted(shown(second)) == [("claimed", 2, True), ("hold", 2, True), ("last", 1, False)]


async def test_a_message_that_killed_three_bots_is_a_dead_letter_that_operators_see(host, command):
    variables = {name: value for name, value in host.variables().items() if "LEVEL" not in name}
    async with host.client() as fleet:
        poison = await fleet.client.send("ada", "die")
        await fleet.client.send("ada", "after")
        for tries in (1, 2, 3):
            bot = host.scripts.bot(MAIN, f"room_url='{ROOM}', bot_id='ada'", **host.variables())
            assert await ends(bot) == -signal.SIGKILL
            assert shown(bot) == [("die", tries, tries > 1)]
        last = await host.bot("ada")
        await says(last, "got after")
        assert (await fleet.client.receipt(poison)).state == "dead"
        assert shown(last) == [("after", 1, False)]
        told = await anyio.to_thread.run_sync(lambda: command("inbox", "ada", "--json", **variables))
        (letter,) = (each for each in answer(told) if each["state"] == "dead")
        assert (letter["id"], letter["tries"]) == (poison.id, 3)
        assert "3 tries" in letter["reason"]


async def test_each_actor_fails_again_and_again_and_nothing_is_lost_or_shown_twice(host):
    main, accepted = Reader(), []
    patient = Policy(intensity=100, period=60, base=0.01, cap=0.05)
    async with host.client() as fleet:
        bot = await fleet.start(main, policy=patient)
        for number, actor in zip(range(16), itertools.cycle(ACTORS), strict=False):
            crash(bot.bot, actor)
            with contextlib.suppress(NotStored):  # it was being handed to the backend that failed
                receipt = await fleet.client.send(("ada", ROOM)[number // 4 % 2], str(number))
                accepted.append(receipt.id)
        await until(lambda: {message.id for message in main.seen} >= set(accepted), 20)
        assert (await fleet.client.send("ada", "last", wait=10)).state == "handled"
    assert len(accepted) >= 12
    assert len({message.id for message in main.seen}) == len(main.seen)
    assert [message.text for message in main.seen if message.redelivered] == []
