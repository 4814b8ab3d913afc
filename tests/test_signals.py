"""SIGTERM and SIGINT, sent to real bots."""

import signal
import threading
import time

import anyio
import pytest

from botvisor.signals import SignalWatch

from . import processes
from .processes import LOOPS

scripts = processes.scripts

IN_TIME = {signal.SIGTERM: 0, signal.SIGINT: 130}
CANCELLED = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.fixture(params=LOOPS)
def loop(request):
    return LOOPS[request.param]


@pytest.mark.parametrize("number", IN_TIME)
def test_a_first_signal_ends_the_inbox(scripts, loop, number):
    bot = scripts.bot(
        """
        print("running")
        async for message in bot.inbox:
            pass
        print("wrapping up")
        """,
        loop,
    )
    bot.says("running")
    assert bot.stop(number) == IN_TIME[number]
    assert "wrapping up" in bot.out


@pytest.mark.parametrize("number", CANCELLED)
def test_main_that_outlasts_its_grace_is_cancelled(scripts, loop, number):
    bot = scripts.bot("print('running')\nawait anyio.sleep_forever()", loop + ", grace=0.1")
    bot.says("running")
    assert bot.stop(number) == CANCELLED[number]
    assert "Traceback" not in bot.stderr


@pytest.mark.parametrize("second", CANCELLED)
def test_a_second_signal_ends_the_process_at_once(scripts, second):
    bot = scripts.bot(
        "print('running')\nawait bot.wait_stopping()\nprint('busy')\nawait anyio.sleep_forever()"
    )
    bot.says("running")
    bot.send(signal.SIGTERM)
    bot.says("busy")
    assert bot.stop(second) == 128 + second


@pytest.mark.parametrize("blocked", ["time.sleep(600)", "while True: pass"])
def test_a_second_signal_ends_the_process_though_the_loop_is_blocked(scripts, loop, blocked):
    bot = scripts.bot(f"print('running')\n{blocked}", loop)
    bot.says("running")
    bot.send(signal.SIGTERM)
    time.sleep(0.1)  # nothing tells that the first one has come: two at once would be one
    assert bot.stop() == 143


def test_an_error_in_the_grace_is_mains_own(scripts):
    bot = scripts.bot("print('running')\nawait bot.wait_stopping()\nraise ValueError('too much')")
    bot.says("running")
    assert bot.stop() == 1
    assert bot.err[-1] == "ValueError: too much"


def test_an_error_in_the_clean_up_after_the_cancel_is_logged(scripts):
    bot = scripts.bot(
        "print('running')\ntry: await anyio.sleep_forever()\nfinally: raise ValueError('no clean-up')",
        "grace=0.1",
        BOT_LOG_LEVEL="WARNING",
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "/main failed as it stopped (SIGTERM): ValueError: no clean-up" in bot.stderr


def test_a_signal_during_the_start_ends_the_process_before_main(scripts, loop):
    head = (
        "from loguru import logger\n"
        "logger.add(lambda line: 'Started ada/identity' in line and signal.raise_signal(signal.SIGTERM))"
    )
    bot = scripts.bot("print('running')", loop + ", bot_id='ada'", head=head)
    assert bot.ends() == 143
    assert bot.out == []
    assert "Traceback" not in bot.stderr


def test_heartbeats_go_on_during_the_grace(scripts):
    bot = scripts.bot(
        """
        print("running")
        await bot.wait_stopping()
        async with open_client() as client:
            first = await client.heartbeat(bot.id)
            while (beat := await client.heartbeat(bot.id)).seq < first.seq + 3:
                await anyio.sleep(0.02)
        print(beat.status)
        """,
        BOT_HEARTBEAT_INTERVAL_SECS="0.1",
    )
    bot.says("running")
    assert bot.stop() == 0
    assert "draining" in bot.out


@pytest.mark.parametrize("use", ["signal.signal(signal.SIGTERM, own)", "loop.add_signal_handler(15, own)"])
def test_a_replaced_handler_is_told_once_with_the_remedy(scripts, use):
    bot = scripts.bot(
        f"""
        def own(*_): print("mine")
        loop = asyncio.get_running_loop()
        {use}
        print("running")
        await anyio.sleep_forever()
        """,
        "grace=0.1",
        head="import botvisor.run\nbotvisor.run._LOOK_AT_HANDLERS_S = 0.05\n",
        BOT_LOG_LEVEL="WARNING",
    )
    bot.says("Another library handles SIGTERM now")
    bot.send(signal.SIGTERM)
    bot.says("mine")
    assert bot.stop(signal.SIGINT) == 130
    assert bot.stderr.count("Another library") == 1
    assert "handle_sigterm=False" in bot.stderr


def test_the_handlers_are_restored(scripts, loop):
    bot = scripts.bot(
        "return None",
        loop,
        head="def own(*_): print('mine')\nsignal.signal(signal.SIGTERM, own)",
        tail="print(signal.getsignal(15) is own, signal.getsignal(2) is signal.default_int_handler)",
    )
    assert bot.ends() == 0
    assert bot.out[-1] == "True True"


async def test_a_handler_that_somebody_else_put_in_the_place_of_ours_stays():
    before = signal.getsignal(signal.SIGTERM)
    try:
        watch = SignalWatch()
        with watch.watch(lambda _: None):
            assert watch.replaced() == []
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            assert watch.replaced() == ["SIGTERM"]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_the_first_signal_reaches_the_loop():
    heard = anyio.Event()
    with SignalWatch().watch(lambda _: heard.set()) as _, anyio.fail_after(5):
        signal.raise_signal(signal.SIGTERM)
        await heard.wait()


def test_another_thread_touches_no_handlers():
    before = [signal.getsignal(number) for number in IN_TIME]
    seen = []

    async def look():
        watch = SignalWatch()
        with watch.watch(lambda _: None):
            seen.append(([signal.getsignal(number) for number in IN_TIME], watch.replaced()))

    thread = threading.Thread(target=lambda: anyio.run(look))
    thread.start()
    thread.join(5)
    assert seen == [(before, [])]


def test_a_killed_bots_id_is_free_at_once(scripts):
    bot = scripts.bot("print('running')\nawait anyio.sleep_forever()", BOT_ID="ada")
    bot.says("running")
    assert bot.stop(signal.SIGKILL) == -signal.SIGKILL
    successor = scripts.bot("return bot.id", BOT_ID="ada")
    assert successor.ends() == 0
    assert successor.out == ["returned 'ada'"]
