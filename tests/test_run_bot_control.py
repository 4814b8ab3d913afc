"""Control commands to bots in processes of their own: stop and drain."""

import anyio

from botvisor import open_client

from . import processes
from .fleet import settings_in

scripts = processes.scripts


def tell(folder, bot_id, command):
    async def main():
        async with open_client(settings_in(folder)) as client:
            await client.control(bot_id, command)

    anyio.run(main)


def test_a_control_command_to_stop_ends_like_sigterm(scripts, tmp_path):
    bot = scripts.bot(
        """
        print("running")
        async for message in bot.inbox:
            pass
        print("wrapping up")
        """,
        "bot_id='ada'",
    )
    bot.says("running")
    tell(tmp_path, "ada", "stop")
    assert bot.ends() == 0
    assert bot.out == ["running", "wrapping up", "returned None"]


def test_a_stop_by_control_that_main_outlasts_ends_with_143(scripts, tmp_path):
    bot = scripts.bot("print('running')\nawait anyio.sleep_forever()", "bot_id='ada', grace=0.1")
    bot.says("running")
    tell(tmp_path, "ada", "stop")
    assert bot.ends() == 143


def test_a_drain_waits_for_main_without_limit(scripts, tmp_path):
    bot = scripts.bot(
        """
        print("running")
        async for message in bot.inbox:
            pass
        await anyio.sleep(0.5)
        return "took its time"
        """,
        "bot_id='ada', grace=0.01",
    )
    bot.says("running")
    tell(tmp_path, "ada", "drain")
    assert bot.ends() == 0
    assert bot.out[-1] == "returned 'took its time'"


def test_a_drained_bot_that_is_stopped_has_its_grace_left(scripts, tmp_path):
    bot = scripts.bot(
        "print('running')\nawait bot.wait_stopping()\nprint('draining')\nawait anyio.sleep_forever()",
        "bot_id='ada', grace=0.1",
    )
    bot.says("running")
    tell(tmp_path, "ada", "drain")
    bot.says("draining")
    tell(tmp_path, "ada", "stop")
    assert bot.ends() == 143
