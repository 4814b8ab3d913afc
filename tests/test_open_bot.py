"""`open_bot`: a bot for the length of a block, in a loop that runs already. On real files."""

import asyncio
import signal

import anyio
import pytest
from loguru import logger

from botvisor import Actor, ActorStopped, Policy, current_bot, open_bot, open_client
from botvisor.bot import NoBot
from botvisor.errors import BotIdTaken, SettingsError, StartFailed
from botvisor.shared import shared_supervisor
from botvisor.testing import crash

from .fleet import ROOM, held_leases, settings_in
from .processes import environment


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


async def test_a_bot_is_seen_and_reached_inside_the_block(settings):
    async with (
        open_bot(room_url=ROOM, bot_id="ada", settings=settings) as bot,
        open_client(settings) as client,
    ):
        assert (await client.heartbeat("ada")).room_url == ROOM
        assert bot.status == "healthy"
        await client.send("ada", "hello")
        async for message in bot.inbox:
            assert message.text == "hello"
            break


async def test_after_the_block_the_bot_has_ended_and_holds_nothing(settings):
    async with open_bot(room_url=ROOM, bot_id="ada", settings=settings) as bot:
        pass
    assert bot.status == "stopped"
    assert await held_leases(settings) == []
    async with open_client(settings) as client:
        assert (await client.heartbeat("ada")).epitaph["exit"] == "returned"


async def test_an_actor_of_the_blocks_own_ends_with_it(settings):
    class Echo(Actor):
        async def handle(self, message):
            return message

    async with open_bot(bot_id="ada", settings=settings) as bot:
        echo = await bot.start_actor("echo", Echo)
        assert await echo.ask("hello", timeout=5) == "hello"
    with pytest.raises(ActorStopped):
        echo.tell("too late")


async def test_it_touches_no_signals(settings):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    async with open_bot(settings=settings):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


async def test_it_touches_no_sink_of_the_hosts(settings):
    before = dict(logger._core.handlers)
    async with open_bot(settings=settings):
        assert logger._core.handlers == before


async def test_it_reads_the_environment_unless_it_is_given_settings(monkeypatch, tmp_path):
    for name, value in environment(tmp_path, BOT_ID="from-the-environment").items():
        monkeypatch.setenv(name, value)
    async with open_bot() as bot:
        assert bot.id == "from-the-environment"
    assert (tmp_path / "heartbeat").exists()


async def test_bad_settings_are_refused(monkeypatch):
    monkeypatch.setenv("BOT_HEARTBEAT_INTERVAL_SECS", "soon")
    with pytest.raises(SettingsError, match="BOT_HEARTBEAT_INTERVAL_SECS"):
        async with open_bot():
            pass


async def test_bots_of_one_loop_share_a_supervisor(settings):
    async with open_bot(settings=settings) as first, open_bot(settings=settings) as second:
        assert first.actors["backend"] is second.actors["backend"]
        assert second.id == f"{first.id}.2"
        async with shared_supervisor(settings) as supervisor:
            assert supervisor.backend is first.actors["backend"]


async def test_the_last_one_to_leave_ends_what_they_share(settings):
    async with open_bot(settings=settings):
        async with open_bot(settings=settings), shared_supervisor(settings) as supervisor:
            pass
        assert not supervisor.ended.is_set()
    assert supervisor.ended.is_set()


async def test_a_supervisor_that_somebody_cancelled_is_replaced(settings, anyio_backend_name):
    if anyio_backend_name == "trio":
        pytest.skip("trio lets nobody cancel it")
    async with open_bot(settings=settings) as first, shared_supervisor(settings) as supervisor:
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "botvisor supervisor"]
        task.cancel()
        with anyio.fail_after(10):
            await supervisor.ended.wait()
        async with open_bot(settings=settings) as second:
            assert second.status == "healthy"
            assert second.actors["backend"] is not first.actors["backend"]


async def test_other_settings_have_a_supervisor_of_their_own(settings, tmp_path):
    elsewhere = settings_in(tmp_path / "elsewhere")
    async with (
        open_bot(bot_id="ada", settings=settings) as one,
        open_bot(bot_id="ada", settings=elsewhere) as two,
    ):
        assert one.actors["backend"] is not two.actors["backend"]


async def test_current_bot_is_the_innermost_block(settings):
    async with open_bot(bot_id="ada", settings=settings) as outer:
        async with open_bot(bot_id="ben", settings=settings) as inner:
            assert current_bot() is inner
        assert current_bot() is outer
    with pytest.raises(NoBot):
        current_bot()


async def test_bots_of_different_tasks_do_not_mix(settings):
    seen = {}
    both = anyio.Event()

    async def serve(name):
        async with open_bot(bot_id=name, settings=settings):
            seen[name] = None
            if len(seen) == 2:
                both.set()
            await both.wait()
            seen[name] = current_bot().id

    async with anyio.create_task_group() as group:
        group.start_soon(serve, "ada")
        group.start_soon(serve, "ben")
    assert seen == {"ada": "ada", "ben": "ben"}


async def test_an_error_in_the_block_comes_out_bare(settings):
    error = ValueError("boom")

    async def fail():
        async with open_bot(bot_id="ada", settings=settings):
            raise error

    with pytest.raises(ValueError, match="boom") as caught:
        await fail()
    assert caught.value is error
    assert error.__context__ is None
    async with open_client(settings) as client:
        assert (await client.heartbeat("ada")).epitaph["exit"] == "ValueError: boom"


async def test_a_message_that_an_error_interrupts_is_not_handled(settings):
    async def fail():
        async with open_bot(bot_id="ada", settings=settings) as bot:
            async for message in bot.inbox:
                raise ValueError(message.text)

    async with open_client(settings) as client:
        receipt = await client.send("ada", "hello")
        with pytest.raises(ValueError, match="hello"):
            await fail()
        assert (await client.receipt(receipt)).state == "delivered"
        async with open_bot(bot_id="ada", settings=settings) as bot:
            async for message in bot.inbox:
                assert (message.redelivered, message.tries) == (True, 2)
                break
        assert (await client.receipt(receipt)).state == "handled"


async def test_a_stop_ends_the_inbox_and_leaves_the_block_its_grace(settings):
    async with open_bot(settings=settings, grace=30) as bot:
        bot.stop("enough")
        assert [message async for message in bot.inbox] == []
        await bot.wait_stopping()
        await anyio.sleep(0.1)
        left = True
    assert left


async def test_a_block_that_outlasts_the_grace_is_cancelled_and_only_the_block(settings):
    async with open_bot(bot_id="ada", settings=settings, grace=0.05) as bot:
        bot.stop("enough")
        await anyio.sleep_forever()
    async with open_client(settings) as client:
        epitaph = (await client.heartbeat("ada")).epitaph
    assert (epitaph["reason"], epitaph["exit"]) == ("enough", "cancelled")


async def test_a_stop_by_control_reaches_the_block(settings):
    async with open_bot(bot_id="ada", settings=settings) as bot, open_client(settings) as client:
        await client.control("ada", "stop")
        with anyio.fail_after(5):
            await bot.wait_stopping()


async def test_an_exhausted_actor_ends_the_block_with_its_error_if_the_policy_says_so(settings):
    async def serve():
        policy = Policy(intensity=0, on_exhausted="stop")
        async with open_bot(settings=settings, policy=policy) as bot:
            crash(bot, "identity", OSError("no more"))
            await bot.wait_stopping()

    with anyio.fail_after(5), pytest.raises(OSError, match="no more"):
        await serve()


async def test_an_unsafe_directory_fails_the_start_bare(settings):
    settings.admin_message_dir.mkdir(mode=0o700)
    settings.admin_message_dir.chmod(0o777)

    async def serve():
        async with open_bot(settings=settings):
            pass

    for _ in range(2):
        with pytest.raises(StartFailed, match="chmod 700"):
            await serve()
    settings.admin_message_dir.chmod(0o700)
    await serve()


async def test_an_id_that_is_taken_is_refused_and_the_first_bot_stays(settings):
    async with open_bot(bot_id="ada", settings=settings) as bot:
        with pytest.raises(BotIdTaken):
            async with open_bot(bot_id="ada", settings=settings):
                pass
        assert bot.status == "healthy"


def test_a_reader_that_dies_in_a_loop_which_anyio_did_not_start_gets_its_message_again(settings):
    shown = []

    async def read(bot):
        async for message in bot.inbox:
            shown.append(message.redelivered)
            raise ZeroDivisionError

    async def run():
        async with open_bot(bot_id="ada", settings=settings) as bot, open_client(settings) as client:
            await client.send("ada", "hello")
            with pytest.raises(ZeroDivisionError):
                await asyncio.ensure_future(read(bot))
            await asyncio.sleep(0.1)  # let what is called at the end of a task be called
            async with asyncio.timeout(20):
                shown.append((await anext(bot.inbox)).redelivered)

    asyncio.run(run())
    assert shown == [False, True]
