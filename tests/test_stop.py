"""How a bot ends: the stop, the grace, the cancels."""

import anyio
import pytest

from botvisor.testing import fake_bot

pytestmark = pytest.mark.virtual_time


async def takes_nothing():
    pass


async def until_stopped(bot):
    await bot.wait_stopping()
    return "in time"


async def test_a_stop_lets_main_end_by_itself():
    async with fake_bot(until_stopped) as bot:
        await bot.stop()
        assert await bot.wait() == "in time"
        assert not bot.handle.outcome.cancelled


async def test_a_bot_can_stop_itself():
    async def main(bot):
        bot.stop("enough")
        await bot.wait_stopping()
        return [message async for message in bot.inbox]

    async with fake_bot(main) as bot:
        assert await bot.wait() == []
        assert (await bot.heartbeat()).epitaph["reason"] == "enough"


async def test_main_that_outlasts_its_grace_is_cancelled_then():
    ended = []

    async def main():
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time())

    async with fake_bot(main, grace=15) as bot:
        began = anyio.current_time()
        await bot.stop()
        assert ended[0] - began == pytest.approx(15, abs=0.1)
        assert bot.handle.outcome.cancelled
        assert await bot.wait() is None


async def test_the_scope_is_cancelled_five_seconds_after_the_native_cancel(anyio_backend_name):
    ended = []

    async def main():
        with anyio.CancelScope(shield=True):
            try:
                await anyio.sleep_forever()  # a native cancel pays no heed to the shield
            except BaseException:
                ended.append(anyio.current_time())
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time())

    if anyio_backend_name == "trio":
        pytest.skip("trio knows only scopes")
    async with fake_bot(main, grace=15) as bot:
        began = anyio.current_time()
        await bot.stop()
        assert [at - began for at in ended] == pytest.approx([15, 20], abs=0.1)


async def test_a_shorter_grace_makes_a_stop_that_has_begun_more_urgent():
    async with fake_bot(anyio.sleep_forever, grace=1000) as bot:
        began = anyio.current_time()
        bot.handle.request_stop("gently")
        await anyio.sleep(10)
        await bot.stop(grace=1)
        assert anyio.current_time() - began == pytest.approx(11, abs=0.1)
        assert bot.handle.outcome.reason == "gently"


async def test_a_grace_without_end_waits_for_main():
    async def main(bot):
        await bot.wait_stopping()
        await anyio.sleep(1_000)
        return "at last"

    async with fake_bot(main, grace=float("inf")) as bot:
        await bot.stop()
        assert await bot.wait() == "at last"


@pytest.mark.parametrize("grace", [-1, float("nan")])
async def test_a_grace_that_is_no_time_is_refused(grace):
    with pytest.raises(ValueError, match="grace is at least 0 seconds"):
        async with fake_bot(takes_nothing, grace=grace):
            pass


async def test_heartbeats_go_on_during_the_grace():
    async with fake_bot(anyio.sleep_forever, grace=60) as bot:
        bot.handle.request_stop("the test stops it")
        await anyio.sleep(30)
        first = await bot.heartbeat()
        await anyio.sleep(20)
        second = await bot.heartbeat()
        assert (first.status, second.status) == ("draining", "draining")
        assert second.seq >= first.seq + 2


async def test_the_heartbeat_says_how_main_stands():
    async with fake_bot(until_stopped) as bot:
        assert bot.bot.status == "healthy"
        bot.handle.request_stop("the test stops it")
        await bot.handle.finished.wait()
        assert bot.bot.status == "stopped"


async def test_a_message_that_main_holds_as_it_is_cancelled_goes_to_its_successor():
    async def hold(bot):
        async for _ in bot.inbox:
            await anyio.sleep_forever()

    async def take(bot):
        async for message in bot.inbox:
            return message
        return None

    async with fake_bot(hold, bot_id="ada", grace=1) as bot:
        await bot.send("hello", wait=1)
        await bot.stop()
        async with fake_bot(take, bot_id="ada", store=bot.store) as successor:
            message = await successor.wait()
            assert (message.text, message.redelivered, message.tries) == ("hello", True, 2)
