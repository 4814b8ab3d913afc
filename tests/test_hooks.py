"""Hooks: a bot's author is told what happens to the bot, and nothing that a hook does harms it."""

import asyncio
import dataclasses
import inspect
import textwrap
import threading
import time

import anyio
import pytest

from botvisor import Hooks, Policy, current_bot, open_bot
from botvisor.errors import StartFailed, UnsafeDirectory
from botvisor.hook_runner import LIMIT_S, MESSAGES_LIMIT
from botvisor.testing import MemoryStore, crash, fake_bot

from . import redis_bots, redis_server
from .bot_rig import logged, until
from .fleet import settings_in
from .processes import Scripts
from .redis_bots import process

servers = redis_server.servers
place = redis_bots.place

MOMENTS = [field.name.removeprefix("on_") for field in dataclasses.fields(Hooks)]


async def serve(bot):
    async for message in bot.inbox:
        if message.text == "end":
            return


class Told:
    """Hooks that keep what they were told."""

    def __init__(self, *moments):
        self.calls = []
        self.hooks = Hooks(**{f"on_{moment}": self._hook(moment) for moment in moments or MOMENTS})

    def _hook(self, moment):
        async def hook(bot, *more):
            self.calls.append((moment, *(getattr(each, "text", each) for each in more)))

        return hook

    @property
    def moments(self):
        return [call[0] for call in self.calls]


@pytest.mark.virtual_time
async def test_a_bots_life_is_told_in_order():
    told = Told()
    async with fake_bot(serve, hooks=told.hooks) as bot:
        await bot.send("hello", wait=5)
        await bot.stop()
    assert told.calls == [("started",), ("ready",), ("message", "hello"), ("draining",), ("stopped",)]


@pytest.mark.virtual_time
async def test_main_that_ends_by_itself_is_told_like_a_stop():
    told = Told("draining", "stopped")
    async with fake_bot(serve, hooks=told.hooks) as bot:
        await bot.send("end")
        await bot.wait()
        assert told.moments == ["draining", "stopped"]


@pytest.mark.virtual_time
async def test_an_actor_at_rest_is_told_with_a_reason_and_its_recovery_too():
    told = Told("degraded", "recovered")
    async with fake_bot(serve, hooks=told.hooks, policy=Policy(intensity=0)) as bot:
        crash(bot.bot, "identity")
        await anyio.sleep(1)
        assert told.calls == [("degraded", f"{bot.handle.id}/identity is at rest")]
        await anyio.sleep(60)
        assert told.moments == ["degraded", "recovered"]


@pytest.mark.virtual_time
async def test_a_bot_that_ends_is_not_told_to_be_degraded():
    told = Told("degraded", "draining", "stopped")
    async with fake_bot(serve, hooks=told.hooks, policy=Policy(intensity=0)) as bot:
        bot.handle.request_stop("enough")
        crash(bot.bot, "identity")
        await bot.wait()
    assert told.moments == ["draining", "stopped"]


@pytest.mark.virtual_time
async def test_a_bot_that_did_not_start_has_not_stopped():
    told, store = Told(), MemoryStore()
    store.fail_with(UnsafeDirectory("/there", "is anybody's", "set another path"))
    with pytest.raises(StartFailed):
        async with fake_bot(serve, hooks=told.hooks, store=store):
            pass
    assert told.calls == []


@pytest.mark.virtual_time
async def test_a_hook_that_raises_is_logged_once_and_harms_nobody():
    async def fail(bot, message):
        raise ValueError(f"no {message.text}")

    told = Told("stopped")
    with logged() as lines:
        async with fake_bot(serve, hooks=dataclasses.replace(told.hooks, on_message=fail)) as bot:
            for text in ("one", "two", "end"):
                await bot.send(text)
            assert await bot.wait() is None
    (line,) = [line for line in lines if "on_message" in line]
    assert line.startswith("WARNING [memory-supervisor] The hook on_message of bot ")
    assert "ValueError: no one" in line
    assert "Traceback" in line
    assert told.moments == ["stopped"]


@pytest.mark.virtual_time
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_a_hook_does_not_end_the_bot(error):
    async def leave(bot):
        raise error

    told = Told("message", "stopped")
    async with fake_bot(serve, hooks=dataclasses.replace(told.hooks, on_ready=leave)) as bot:
        await bot.send("still here", wait=5)
        await bot.stop()
    assert told.moments == ["message", "stopped"]


@pytest.mark.virtual_time
async def test_a_cancellation_out_of_nowhere_is_a_failure_of_the_hook_alone():
    async def stray(bot):
        raise asyncio.CancelledError

    told = Told("stopped")
    async with fake_bot(serve, hooks=dataclasses.replace(told.hooks, on_ready=stray)) as bot:
        await bot.send("still here", wait=5)
        await bot.stop()
    assert told.moments == ["stopped"]


@pytest.mark.virtual_time
async def test_a_hook_that_hangs_is_cancelled_and_holds_up_neither_messages_nor_the_end():
    async def hang(bot):
        await anyio.sleep_forever()

    told = Told("ready", "stopped")
    hooks = dataclasses.replace(told.hooks, on_started=hang)
    with logged() as lines:
        async with fake_bot(serve, hooks=hooks) as bot:
            await bot.send("quick", wait=1)
            assert told.moments == []
            await anyio.sleep(LIMIT_S)
            assert told.moments == ["ready"]
            await bot.stop()
    assert told.moments == ["ready", "stopped"]
    assert len([line for line in lines if "The hook on_started" in line]) == 1


@pytest.mark.virtual_time
async def test_the_end_waits_for_hooks_within_its_limit():
    async def hang(bot, *_):
        await anyio.sleep_forever()

    told = Told("stopped")
    hooks = dataclasses.replace(told.hooks, on_message=hang)
    async with fake_bot(serve, hooks=hooks) as bot:
        for _ in range(10):
            await bot.send("slow")
        await anyio.sleep(0.1)
        began = anyio.current_time()
        await bot.stop()
        assert anyio.current_time() - began <= LIMIT_S + 0.5
    assert told.moments == ["stopped"]


@pytest.mark.virtual_time
async def test_messages_that_find_too_many_waiting_pass_the_hook_by():
    seen, go_on = [], anyio.Event()

    async def slow(bot, message):
        seen.append(message.text)
        await go_on.wait()

    async with fake_bot(serve, hooks=Hooks(on_message=slow)) as bot:
        for number in range(MESSAGES_LIMIT + 20):
            bot.handle.hooks.tell("message", type("Message", (), {"text": number}))
        await anyio.sleep(0.1)
        go_on.set()
        await anyio.sleep(0.1)
    assert seen == list(range(MESSAGES_LIMIT))


async def test_a_hook_that_is_not_async_runs_in_a_thread_and_knows_its_bot():
    seen = []

    def tell(bot):
        seen.append((threading.current_thread() is threading.main_thread(), current_bot() is bot))

    async with fake_bot(serve, hooks=Hooks(on_ready=tell, on_stopped=tell)):
        await until(lambda: seen, 5)
    assert seen == [(False, True)] * 2


async def test_a_plain_function_may_return_what_is_to_be_awaited():
    told = Told("ready")
    async with fake_bot(serve, hooks=Hooks(on_ready=lambda bot: told.hooks.on_ready(bot))):
        await until(lambda: told.moments, 5)


async def test_a_hook_that_blocks_blocks_its_own_thread_alone():
    blocked, ended = threading.Event(), threading.Event()

    def block(bot, *_):
        blocked.set()
        ended.wait(10)

    try:
        async with fake_bot(serve, hooks=Hooks(on_ready=block)) as bot:
            await until(blocked.is_set, 5)
            await bot.send("quick", wait=2)
            ended.set()
    finally:
        ended.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_redis_away_is_told_and_redis_back_too(place):
    told = Told("degraded", "recovered")
    async with process(place.settings()) as fleet:
        await fleet.start(hooks=told.hooks)
        place.server.kill()
        await until(lambda: told.calls, 20)
        assert told.calls == [("degraded", "the backend is file, not redis")]
        await place.server.start()
        await until(lambda: told.moments == ["degraded", "recovered"], 20)


def test_a_plain_function_that_hangs_for_ever_does_not_keep_the_process(tmp_path):
    head = """
        import botvisor.hook_runner
        botvisor.hook_runner.LIMIT_S = 0.4
        def hang(bot):
            print("hangs", flush=True)
            time.sleep(1_000)
        async def gone(bot):
            print("gone", flush=True)
    """
    with Scripts(tmp_path) as scripts:
        bot = scripts.bot(
            "await bot.wait_stopping()",
            "hooks=Hooks(on_ready=hang, on_stopped=gone)",
            head=textwrap.dedent(head),
        )
        bot.says("hangs")
        began = time.monotonic()
        assert bot.stop() == 0
        assert time.monotonic() - began < 4
        assert bot.out == ["hangs", "gone", "returned None"]


async def test_open_bot_has_hooks(tmp_path):
    told = Told()
    async with open_bot(settings=settings_in(tmp_path), bot_id="ada", hooks=told.hooks):
        await until(lambda: "ready" in told.moments, 5)
    assert told.moments == ["started", "ready", "draining", "stopped"]


@pytest.mark.virtual_time
async def test_a_bot_without_hooks_has_no_child_for_them():
    async with fake_bot(serve) as bot:
        assert f"{bot.handle.id}/hooks" not in bot.supervisor.core.names()


@pytest.mark.virtual_time
async def test_main_that_is_restarted_is_ready_once():
    told, runs = Told("ready", "stopped"), []

    async def main(bot):
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("not yet")

    async with fake_bot(main, hooks=told.hooks, policy=Policy(restart="transient", base=0.01)) as bot:
        await bot.wait()
    assert (len(runs), told.moments) == (3, ["ready", "stopped"])


def test_every_hook_takes_the_bot_first():
    assert MOMENTS == ["started", "ready", "message", "degraded", "recovered", "draining", "stopped"]
    assert all(parameter.default is None for parameter in inspect.signature(Hooks).parameters.values())
