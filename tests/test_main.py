"""`main` under its supervisor: how it is called, ended and restarted."""

import functools

import anyio
import pytest

from botvisor import Policy, current_bot
from botvisor.bot import NoBot
from botvisor.errors import StrayCancellation
from botvisor.testing import crash, fake_bot

pytestmark = pytest.mark.virtual_time


async def takes_the_bot(bot):
    return bot


async def takes_nothing():
    return current_bot()


async def takes_what_comes(*arguments):
    return arguments[0]


class Callable:
    async def __call__(self, bot):
        return bot


@pytest.mark.parametrize(
    "main",
    [
        takes_the_bot,
        takes_nothing,
        takes_what_comes,
        Callable(),
        functools.partial(takes_the_bot),
        lambda bot: takes_the_bot(bot),
    ],
)
async def test_main_takes_the_bot_or_nothing(main):
    async with fake_bot(main) as bot:
        assert await bot.wait() is bot.bot


async def until_stopped(bot):
    await bot.wait_stopping()
    return "in time"


async def takes_two(bot, more):
    pass


@pytest.mark.parametrize("main", [takes_two, None, "main"])
async def test_what_cannot_be_called_so_is_refused_before_anything_starts(main):
    async with fake_bot(takes_nothing) as other:
        with pytest.raises(TypeError, match="main"):
            await other.supervisor.start_bot(main, bot_id="ada")
        assert await other.client.heartbeat("ada") is None


async def test_a_function_that_is_not_async_fails_with_a_clear_error():
    async with fake_bot(lambda bot: 42) as bot:
        with pytest.raises(TypeError, match=r"main must be an async function: .* returned int"):
            await bot.wait()


async def test_current_bot_is_known_in_the_tasks_of_main():
    async def main(bot):
        seen = []

        async def look():
            seen.append(current_bot())

        async with anyio.create_task_group() as group:
            group.start_soon(look)
        return seen == [bot]

    async with fake_bot(main) as bot:
        assert await bot.wait()


async def test_current_bot_outside_of_main_is_an_error_that_says_where_to_call_it():
    async with fake_bot(takes_nothing):
        with pytest.raises(NoBot, match="open_bot"):
            current_bot()


async def test_an_error_of_main_reaches_who_waits():
    async def main():
        raise ValueError("boom")

    async with fake_bot(main) as bot:
        with pytest.raises(ValueError, match="boom"):
            await bot.wait()


async def test_main_that_ends_stops_the_bot_and_its_last_words_say_so():
    async with fake_bot(takes_nothing) as bot:
        await bot.wait()
        beat = await bot.heartbeat()
        assert (beat.status, beat.epitaph["reason"], beat.epitaph["exit"]) == (
            "stopped",
            "main ended",
            "returned",
        )


async def test_the_last_words_of_a_bot_that_failed_name_the_error():
    async def main():
        raise ValueError("boom")

    async with fake_bot(main) as bot:
        with pytest.raises(ValueError, match="boom"):
            await bot.wait()
        assert (await bot.heartbeat()).epitaph["exit"] == "ValueError: boom"


async def test_transient_main_is_restarted_after_an_error_and_gets_its_message_again():
    seen = []

    async def main(bot):
        async for message in bot.inbox:
            seen.append((message.text, message.redelivered, message.tries))
            if not message.redelivered:
                raise ValueError("boom")
            return "second time"
        return None

    async with fake_bot(main, policy=Policy(restart="transient")) as bot:
        await bot.send("hello")
        assert await bot.wait() == "second time"
        assert seen == [("hello", False, 1), ("hello", True, 2)]


async def test_main_is_not_restarted_unless_the_policy_says_so():
    starts = []

    async def main():
        starts.append(1)
        raise ValueError("boom")

    async with fake_bot(main) as bot:
        with pytest.raises(ValueError, match="boom"):
            await bot.wait()
        assert starts == [1]


async def test_transient_main_that_exits_is_not_restarted():
    async def main():
        raise SystemExit(3)

    async with fake_bot(main, policy=Policy(restart="transient")) as bot:
        with pytest.raises(SystemExit) as caught:
            await bot.wait()
        assert caught.value.code == 3


async def test_what_a_restarted_main_exited_with_before_counts_no_more():
    exits = [SystemExit(3)]

    async def main(bot):
        if exits:
            raise exits.pop()
        await bot.wait_stopping()

    async with fake_bot(main, policy=Policy(restart="permanent")) as bot:
        await anyio.sleep(5)
        await bot.stop()
        assert await bot.wait() is None


async def test_a_stray_cancellation_ends_main_as_a_failure(anyio_backend_name):
    if anyio_backend_name == "trio":
        pytest.skip("trio's cancellations have an owner")

    async def main():
        raise anyio.get_cancelled_exc_class()

    async with fake_bot(main) as bot:
        with pytest.raises(StrayCancellation):
            await bot.wait()


async def test_crashing_actors_do_not_end_main():
    async def main(bot):
        for kind in ("identity", "heartbeat", "inbox", "backend"):
            crash(bot, kind)
            await anyio.sleep(5)
        async for message in bot.inbox:
            return message.text
        return None

    async with fake_bot(main) as bot:
        await anyio.sleep(30)
        await bot.send("still there?")
        assert await bot.wait() == "still there?"
        assert (await bot.heartbeat()).health["restarts"] == 3


async def test_a_parked_actor_shows_as_degraded_and_does_not_end_main():
    async with fake_bot(until_stopped, policy=Policy(intensity=0)) as bot:
        crash(bot.bot, "identity")
        await anyio.sleep(30)
        beat = await bot.heartbeat()
        assert beat.status == "degraded"
        assert beat.health["resting"] == [f"{bot.bot.id}/identity"]
        assert not bot.handle.finished.is_set()
        await anyio.sleep(60)  # it was probed again
        assert (await bot.heartbeat()).status == "healthy"


async def test_an_exhausted_actor_ends_the_bot_if_the_policy_says_so():
    async with fake_bot(until_stopped, policy=Policy(intensity=0, on_exhausted="stop")) as bot:
        crash(bot.bot, "identity", OSError("no more"))
        with pytest.raises(OSError, match="no more"):
            await bot.wait()
        assert bot.handle.outcome.value == "in time"
        assert (await bot.heartbeat()).epitaph["reason"].endswith("/identity used up its restarts")


async def test_a_message_that_main_holds_as_it_returns_is_handled():
    async def main(bot):
        async for message in bot.inbox:
            return message.text
        return None

    async with fake_bot(main) as bot:
        assert (await bot.send("hello", wait=5)).state == "handled"


async def test_a_message_that_main_holds_as_it_fails_is_not_handled():
    async def main(bot):
        async for message in bot.inbox:
            raise ValueError(message.text)

    async with fake_bot(main) as bot:
        receipt = await bot.send("hello", wait=5)
        assert receipt.state == "delivered"
        with pytest.raises(ValueError, match="hello"):
            await bot.wait()


@pytest.mark.parametrize(("code", "state"), [(0, "handled"), (1, "delivered")])
async def test_a_message_that_main_holds_as_it_exits_is_handled_if_the_exit_is_a_success(code, state):
    async def main(bot):
        async for _ in bot.inbox:
            raise SystemExit(code)

    async with fake_bot(main) as bot:
        assert (await bot.send("hello", wait=5)).state == state
        with pytest.raises(SystemExit):
            await bot.wait()
