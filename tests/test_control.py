import json

import anyio
import msgspec
import pytest

from botvisor.control import Control, decode_control
from botvisor.errors import MalformedMessage, StoreUnavailable
from botvisor.store import PushControl
from botvisor.testing import MemoryStore

from .bot_rig import Reader, bot_on, logged


@pytest.mark.parametrize(
    ("control", "said"),
    [
        (Control(id="c1", command="stop", sender="me"), "stop"),
        (Control(id="c1", command="restart", arguments={"actor": "heartbeat"}), "restart heartbeat"),
    ],
)
def test_a_command_is_read_as_it_was_written(control, said):
    assert decode_control(msgspec.json.encode(control)) == control
    assert str(control) == said


def test_fields_that_a_later_version_adds_do_no_harm():
    assert decode_control(b'{"v": 2, "id": "c1", "command": "drain", "urgency": 9}').command == "drain"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"stop",
        b"[]",
        b'{"command": "stop"}',
        b'{"id": "c1", "command": "explode"}',
        b'{"id": 1, "command": "stop"}',
        b'{"id": "c1", "command": "stop", "arguments": []}',
        b'{"id": "\xff", "command": "stop"}',
        b'{"id": "c1", "command": "stop", "arguments": {"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
)
def test_what_is_no_command_is_malformed(raw):
    with pytest.raises(MalformedMessage, match="control"):
        decode_control(raw)


@pytest.mark.virtual_time
class TestABot:
    async def test_is_stopped_as_by_a_signal(self):
        main = Reader()
        async with bot_on(MemoryStore(), main) as rig:
            await rig.client.control("bot", "stop")
            with anyio.fail_after(1):
                await rig.handle.finished.wait()
        assert rig.handle.outcome.reason == "client sent stop"
        assert main.seen == []

    async def test_takes_no_more_messages_once_it_drains_and_ends_with_main(self):
        main = Reader()
        async with bot_on(MemoryStore(), main, grace=1) as rig:
            await rig.client.send("bot", "wait")
            await main.handling.wait()
            await rig.client.control("bot", "drain")
            await rig.client.send("bot", "too late")
            await anyio.sleep(600)
            assert not rig.handle.finished.is_set()
            main.go_on.set()
            await rig.handle.wait()
        assert main.texts == ["wait"]

    @pytest.mark.parametrize("actor", ["heartbeat", "identity", "inbox"])
    async def test_restarts_an_actor_without_a_charge_to_its_budget(self, actor):
        with logged() as lines:
            async with bot_on(MemoryStore(), Reader()) as rig:
                for _ in range(8):
                    await rig.client.control("bot", "restart", actor=actor)
                    await anyio.sleep(1)
                assert (await rig.client.send("bot", "hello", wait=5)).state == "handled"
                assert rig.supervisor.core.ledger.restarts() == 0
        assert len([line for line in lines if f"Restarted bot/{actor}" in line]) == 8

    async def test_says_that_it_has_no_such_actor(self):
        with logged() as lines:
            async with bot_on(MemoryStore(), Reader()) as rig:
                await rig.client.control("bot", "restart", actor="engine")
                await anyio.sleep(1)
        assert "WARNING [memory-admin] Bot bot has no actor 'engine' to restart" in lines

    async def test_ignores_what_it_does_not_understand_and_carries_out_the_rest(self):
        store = MemoryStore()
        with logged() as lines:
            async with bot_on(store, Reader()) as rig:
                stop = json.dumps({"id": "c2", "command": "stop"}).encode()
                await store.execute([PushControl("bot", "c1", b"nonsense"), PushControl("bot", "c2", stop)])
                with anyio.fail_after(1):
                    await rig.handle.finished.wait()
        assert any("Ignored a control command for bot bot" in line for line in lines)
        assert rig.handle.outcome.reason == "an operator sent stop"

    async def test_hears_after_an_outage_what_came_in_it(self):
        store = MemoryStore()
        async with bot_on(store, Reader()) as rig:
            await anyio.sleep(1)

            async def pass_on(moment, commands):
                store.fail_with(StoreUnavailable("no disk") if moment == "asked" else None)

            rig.link.pass_on = pass_on
            await store.execute([PushControl("bot", "c1", b'{"id": "c1", "command": "stop"}')])
            await anyio.sleep(2)
            rig.link.pass_on = None
            with anyio.fail_after(2):
                await rig.handle.finished.wait()
