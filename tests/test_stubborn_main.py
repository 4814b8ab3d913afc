"""`main` in a process of its own that does not end when it is told to: the cancels, and what is left."""

import pytest

from . import processes
from .processes import IMPATIENT, LOOPS

scripts = processes.scripts


@pytest.fixture(params=LOOPS)
def loop(request):
    return LOOPS[request.param]


def test_on_asyncio_main_is_first_cancelled_natively_and_may_still_await(scripts):
    bot = scripts.bot(
        """
        print("running")
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            await bot.identities.write("user1", {"left": True})
            print("saved")
            raise
        """,
        "grace=0.1",
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "saved" in bot.out


def test_main_that_swallows_the_native_cancel_is_cancelled_by_its_scope(scripts):
    bot = scripts.bot(
        """
        print("running")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        try:
            await asyncio.sleep(600)
        finally:
            print("at last")
        """,
        "grace=0.1",
        head=IMPATIENT,
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "at last" in bot.out


def test_main_that_ignores_every_cancel_does_not_keep_the_process(scripts, loop):
    bot = scripts.bot(
        """
        print("running")
        print("flushed", end="")
        while True:
            with contextlib.suppress(BaseException):
                await anyio.sleep(0.01)
        """,
        loop + ", grace=0.1",
        head=IMPATIENT,
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "main still runs 0.2 s after it was cancelled" in bot.stderr
    assert "in main" in bot.stderr  # where it hangs
    assert bot.out[-1] == "flushed"


@pytest.mark.parametrize("wait", ["anyio.to_thread.run_sync(hang)", "asyncio.to_thread(hang)"])
def test_main_that_waits_for_a_thread_does_not_keep_the_process(scripts, wait):
    bot = scripts.bot(
        f"print('running')\nawait {wait}", "grace=0.1", head=IMPATIENT + "def hang(): time.sleep(600)"
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "Left threads behind" in bot.stderr


def test_a_script_that_goes_on_is_left_alone(scripts):
    bot = scripts.start(f"""
        {IMPATIENT.replace(chr(10), "; ").strip("; ")}
        async def main():
            print("running")
            await anyio.sleep_forever()
        try:
            run_bot(main, grace=0.1)
        except SystemExit as ended:
            time.sleep(1)
            print("a second later:", ended)
    """)
    bot.says("running")
    assert bot.stop() == 0
    assert bot.out[-1] == "a second later: 143"


def test_a_thread_of_a_bot_that_ended_in_time_may_finish(scripts):
    bot = scripts.bot(
        """
        threading.Thread(target=lambda: time.sleep(1) or print("uploaded")).start()
        print("running")
        await bot.wait_stopping()
        """,
        head=IMPATIENT,
    )
    bot.says("running")
    assert bot.stop() == 0
    assert bot.out[-1] == "uploaded"


def test_a_foreign_cancellation_after_our_own_is_a_stop(scripts, loop):
    bot = scripts.bot(
        """
        print("running")
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            if "trio" in sys.modules: raise
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        """,
        loop + ", grace=0.1",
    )
    bot.says("running")
    assert bot.stop() == 143
    assert "Traceback" not in bot.stderr
