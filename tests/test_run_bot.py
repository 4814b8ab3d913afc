"""`run_bot` as a process: what it returns, raises and exits with, and what it leaves behind."""

import pytest

from . import processes
from .processes import LOOPS

scripts = processes.scripts

OWN_SINK = "from loguru import logger\nlogger.remove()\nlogger.add(sys.stdout, format='{message}')"


@pytest.fixture(params=LOOPS)
def loop(request):
    return LOOPS[request.param]


def traceback(bot):
    """What Python has written, without botvisor's log."""
    lines = bot.err
    return lines[lines.index("Traceback (most recent call last):") :] if lines else []


def test_returns_what_main_returned(scripts, loop):
    bot = scripts.bot("return 42", loop)
    assert bot.ends() == 0
    assert bot.out == ["returned 42"]


def test_main_need_not_take_the_bot(scripts):
    bot = scripts.start("""
        async def main():
            return current_bot().id
        print(run_bot(main, bot_id="ada"))
    """)
    assert bot.ends() == 0
    assert bot.out == ["ada"]


def test_an_error_ends_the_process_with_its_own_bare_traceback(scripts, loop):
    bot = scripts.bot("raise ValueError('boom')", loop, BOT_LOG_LEVEL="ERROR")
    assert bot.ends() == 1
    files = [line.split('"')[1] for line in traceback(bot) if line.startswith("  File ")]
    assert (files[0], files[-1]) == (bot.path, bot.path)
    assert {file.rpartition("/")[2] for file in files[1:-1]} == {"run.py"}
    assert bot.err[-2:] == ["    raise ValueError('boom')", "ValueError: boom"]
    assert "Group" not in bot.stderr
    assert "During handling" not in bot.stderr


def test_an_error_in_a_task_group_of_mains_comes_out_bare(scripts, loop):
    bot = scripts.bot(
        """
        async def fail():
            raise ValueError("boom")
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
        """,
        loop,
    )
    assert bot.ends() == 1
    assert bot.err[-1] == "ValueError: boom"
    assert "Group" not in bot.stderr


def test_an_errors_own_chain_is_kept(scripts):
    bot = scripts.bot("""
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error
    """)
    assert bot.ends() == 1
    assert "KeyError: 'first'" in bot.err
    assert bot.err[-1] == "ValueError: second"


@pytest.mark.parametrize(
    ("code", "expected", "said"), [("7", 7, ""), ("", 0, ""), ("'no room'", 1, "no room")]
)
def test_sys_exit_in_main_is_the_processs_own(scripts, code, expected, said):
    bot = scripts.bot(f"sys.exit({code})", BOT_LOG_LEVEL="CRITICAL")
    assert bot.ends() == expected
    assert bot.stderr == said
    assert bot.out == []


def test_sys_exit_in_a_task_of_asyncios_ends_the_process_at_once(scripts):
    bot = scripts.bot(
        """
        async def leave():
            sys.exit(7)
        task = asyncio.create_task(leave())
        await anyio.sleep_forever()
        """
    )
    assert bot.ends() == 7


def test_a_stray_cancellation_is_an_error(scripts):
    bot = scripts.bot("raise asyncio.CancelledError")
    assert bot.ends() == 1
    assert bot.err[-1].startswith("botvisor.errors.StrayCancellation: ")


def test_transient_main_is_restarted_after_an_error(scripts):
    bot = scripts.bot(
        """
        with open("tries", "a") as tries:
            print("try", file=tries)
        if len(open("tries").readlines()) < 3:
            raise ValueError("not yet")
        return "third time"
        """,
        "policy=Policy(restart='transient', base=0.01)",
    )
    assert bot.ends() == 0
    assert bot.out == ["returned 'third time'"]


def test_main_that_used_up_its_restarts_ends_the_process_with_its_error(scripts):
    bot = scripts.bot(
        "raise ValueError('never')", "policy=Policy(restart='transient', base=0.01, intensity=2)"
    )
    assert bot.ends() == 1
    assert bot.err[-1] == "ValueError: never"


def test_an_actor_that_used_up_its_restarts_ends_the_bot_if_the_policy_says_so(scripts):
    bot = scripts.bot(
        """
        from botvisor.testing import crash
        crash(bot, "heartbeat", OSError("no more"))
        await bot.wait_stopping()
        """,
        "policy=Policy(intensity=0, on_exhausted='stop')",
    )
    assert bot.ends() == 1
    assert bot.err[-1] == "OSError: no more"


def test_bad_settings_are_all_named_before_anything_starts(scripts, tmp_path):
    bot = scripts.bot("print('running')", BOT_HEARTBEAT_INTERVAL_SECS="soon", BOT_ID="a b")
    assert bot.ends() == 1
    assert "BOT_HEARTBEAT_INTERVAL_SECS" in bot.stderr
    assert "BOT_ID" in bot.stderr
    assert bot.out == []
    assert not (tmp_path / "heartbeat").exists()


@pytest.mark.parametrize("name", ["admin_message", "heartbeat"])
def test_an_unsafe_directory_stops_the_start_with_its_remedy(scripts, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    folder.chmod(0o777)
    bot = scripts.bot("print('running')", BOT_LOG_LEVEL="CRITICAL")
    assert bot.ends() == 1
    assert bot.err[-1].startswith("botvisor.errors.StartFailed: ")
    assert bot.err[-1].endswith(f"run: chmod 700 {folder}")
    assert "Group" not in bot.stderr
    assert bot.out == []


def test_a_given_id_that_a_live_bot_has_is_refused_naming_its_owner(scripts):
    first = scripts.bot("print('running')\nawait anyio.sleep_forever()", BOT_ID="ada")
    first.says("running")
    second = scripts.bot("print('running')", BOT_ID="ada")
    assert second.ends() == 1
    assert second.err[-1].startswith("botvisor.errors.BotIdTaken: bot id 'ada' is taken by ")
    assert f"process {first.pid} " in second.err[-1]


def test_a_loop_that_runs_already_is_refused_naming_what_to_use(scripts, loop):
    bot = scripts.start(f"""
        async def main():
            run_bot(main, bot_id="ada")
        options = dict({loop})
        uvloop = {{"use_uvloop": options.pop("use_uvloop")}} if "use_uvloop" in options else {{}}
        anyio.run(main, backend=options["backend"], backend_options=uvloop)
    """)
    assert bot.ends() == 1
    assert bot.err[-1].startswith("botvisor.run.LoopRuns: ")
    assert "open_bot" in bot.err[-1]


def test_it_runs_in_a_thread_that_is_not_the_main_one(scripts, loop):
    bot = scripts.start(f"""
        async def main(bot):
            return "in a thread"
        thread = threading.Thread(target=lambda: print(run_bot(main, {loop})))
        thread.start()
        thread.join()
    """)
    assert bot.ends() == 0
    assert bot.out == ["in a thread"]


def test_it_runs_again_after_it_has_ended(scripts, loop):
    bot = scripts.start(f"""
        async def main(bot):
            return bot.id
        print(run_bot(main, bot_id="ada", {loop}), run_bot(main, bot_id="ada", {loop}))
    """)
    assert bot.ends() == 0
    assert bot.out == ["ada ada"]


@pytest.mark.parametrize(
    ("wanted", "module"), [("", "uvloop"), ("use_uvloop=True", "uvloop"), ("use_uvloop=False", "asyncio")]
)
def test_uvloop_is_used_where_it_is_installed_unless_told_otherwise(scripts, wanted, module):
    bot = scripts.bot("return type(asyncio.get_running_loop()).__module__.partition('.')[0]", wanted)
    assert bot.ends() == 0
    assert bot.out == [f"returned '{module}'"]


def test_the_log_level_wins_over_the_environments(scripts):
    bot = scripts.bot("return 42", "log_level='ERROR'", BOT_LOG_LEVEL="DEBUG")
    assert bot.ends() == 0
    assert bot.err == []


def test_without_a_level_loguru_stays_as_it_is(scripts):
    bot = scripts.bot(
        "return 42",
        head="from loguru import logger\nlogger.remove()\nlogger.add(sys.stdout, format='{message}')",
    )
    assert bot.ends() == 0
    assert bot.err == []
    assert "[file-supervisor] Started backend" in bot.out


def test_the_guides_logger_opens_the_timings_at_any_level(scripts):
    bot = scripts.bot(
        "return 42",
        "log_level='INFO'",
        head="import logging\nlogging.getLogger('redis_client').setLevel(logging.DEBUG)",
    )
    assert bot.ends() == 0
    assert " commands took " in bot.stderr
    assert "Started backend" not in bot.stderr
